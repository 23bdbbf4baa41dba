"""What a device is handed: messages, values, gaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar


@dataclass(frozen=True)
class Message:
    stream: str
    offset: int
    name: str
    time: str
    service: str | None
    data: Any
    redelivered: bool = False
    #: "stop": where its handler raises, the stream waits.
    on_failure: str = "continue"


@dataclass(frozen=True)
class Stopped:
    """A handler raised on a message with `on_failure` "stop": its stream waits before it."""

    stream: str
    offset: int
    error: Exception


@dataclass(frozen=True)
class Latest:
    stream: str
    name: str
    key: str
    version: int
    coalesced: int
    time: str
    service: str | None
    data: Any


@dataclass(frozen=True)
class Transient:
    stream: str
    name: str
    time: str
    service: str | None
    data: Any


@dataclass(frozen=True)
class Gap:
    """Offsets that cannot be delivered any more, and why: expired, overflow, purged, shed, reset."""

    stream: str
    first: int
    last: int
    reason: str


Item = TypeVar("Item", Message, Latest, Transient)


def known(kind: type[Item], frame: dict[str, Any]) -> Item:
    """Of the members that are known: a newer server may say more."""
    return kind(**{name: frame[name] for name in kind.__dataclass_fields__ if name in frame})
