"""What a transaction changed, for those who are connected: told after the commit, never before."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field


class Item(Struct, frozen=True, gc=False):
    """A stored `every` message as it goes on the wire (`wire.message_item`)."""

    offset: int
    text: str
    #: Unix seconds by the database's clock.
    expires: float


class Appended(Struct):
    stream_id: int
    stream: str
    #: In offset order; empty: the reader must fetch up to `head`.
    items: list[Item]
    head: int


class NewValue(Struct):
    """A new newest value of a key. The text lacks only how many updates it stands for."""

    stream_id: int
    stream: str
    value: str
    name: str
    key: str
    version: int
    time: str
    service: str | None
    payload: str


class Passing(Struct):
    """A `transient` message: never stored."""

    stream_id: int
    text: str


class Advanced(Struct):
    """A device's cursors moved by its results."""

    device_id: int
    stream_id: int
    processed: int


class Received(Struct):
    """A device's receipt that did not come over its socket."""

    device_id: int
    stream_id: int
    upto: int


class Left(Struct):
    """A device is in a stream no more, and did not say so itself over its socket."""

    device_id: int
    stream: str


class Effects(Struct):
    """Everything one transaction has to tell."""

    appended: list[Appended] = field(default_factory=list)
    values: list[NewValue] = field(default_factory=list)
    passing: list[Passing] = field(default_factory=list)
    advanced: list[Advanced] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    #: Devices whose presence, generation, rights or memberships are to be looked up again.
    devices: list[int] = field(default_factory=list)
    #: Streams whose tail, epoch or closing are to be looked up again.
    streams: list[int] = field(default_factory=list)
    #: Services whose results feed grew.
    feeds: list[int] = field(default_factory=list)
    #: Apps in which a device's presence changed.
    presences: list[int] = field(default_factory=list)
    #: For `lineage.remember`; 0: nothing to remember.
    stored: int = 0

    def clear(self) -> None:
        """The transaction is run again: nothing of it counts."""
        for part in self._parts():
            part.clear()
        self.stored = 0

    def __bool__(self) -> bool:
        return any(self._parts())

    def _parts(self) -> tuple[list[Any], ...]:
        return (
            self.appended,
            self.values,
            self.passing,
            self.advanced,
            self.received,
            self.left,
            self.devices,
            self.streams,
            self.feeds,
            self.presences,
        )
