"""What the merge of a stream (merge.py) asks for: its effects, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Path = Literal["live", "pulled", "merged"]


@dataclass(frozen=True, slots=True)
class Hand:
    """Hand this message to the app. `path`: how it came."""

    offset: int
    path: Path
    message: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Gap:
    """`first` to `last` can no longer be delivered. A `reset` may be empty (1 to 0)."""

    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class Pull:
    """Fetch what lies above `after`, up to `until` (None: up to the server's head). Pages come back with `pull`."""

    pull: int
    after: int | None
    until: int | None
    epoch: str | None


@dataclass(frozen=True, slots=True)
class Adopt:
    """The server's position was taken over: the store starts here."""

    epoch: str | None
    done: int


@dataclass(frozen=True, slots=True)
class Buffer:
    """A live message was kept until the pull is complete."""

    offset: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Not kept. `offset` is None for a whole page."""

    offset: int | None
    why: Literal["away", "duplicate", "pull_owns_it", "above_cut", "overflow", "old_page"]


@dataclass(frozen=True, slots=True)
class Live:
    """Everything up to `done` was handed over or told as a gap; from here on messages pass straight through."""

    done: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The stream was closed at `head`, and all of it was handed over."""

    head: int


Effect = Hand | Gap | Pull | Adopt | Buffer | Drop | Live | Closed
