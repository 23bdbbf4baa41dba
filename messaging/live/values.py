"""The newest values on their way to one session: conflated while its connection takes nothing, owed after a return.

They go out in the order of their versions: a device's receipt says "up to this version", and what it covers is not
sent again. So while older ones are owed, what is new waits behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from messaging.live.link import Link
from messaging.live.way import Way
from messaging.log.effects import NewValue
from messaging.log.reading import Value
from messaging.protocol import wire


class Values:
    def __init__(self, link: Link, ways: Mapping[str, Way]) -> None:
        self._link = link
        self._ways = ways
        #: By stream and key: the newest, and for how many updates it stands.
        self._waiting: dict[tuple[int, str], tuple[NewValue, int]] = {}
        #: Whether values are owed, how often it was said that they are, and whether they are being read.
        self.owing = False
        self.debts = 0
        self.paying = False

    def news(self, value: NewValue) -> None:
        """A new newest value: it takes the place of the one that waits, and goes out as soon as it may.

        Not one of before the return, whose wake-up is late: the device is owed the newest, or has it already.
        """
        way = self._ways.get(value.stream)
        if way is None or value.version <= way.version:
            return
        place = (value.stream_id, value.value)
        waiting = self._waiting.pop(place, None)
        if waiting and waiting[0].version > value.version:
            value = waiting[0]  # a wake-up that is late, or came twice
        self._waiting[place] = (value, waiting[1] + 1 if waiting else 1)
        self.send()

    def send(self) -> None:
        """What waits and is newer than what went out, while the connection takes it and nothing older is owed."""
        while self._waiting and not self.owing and not self._link.blocked:
            value, times = self._waiting.pop(next(iter(self._waiting)))
            way = self._ways.get(value.stream)
            if way and value.version > way.versions.get(value.value, 0):
                way.versions[value.value] = value.version
                text = wire.latest_item(
                    stream=value.stream,
                    name=value.name,
                    key=value.key,
                    version=value.version,
                    coalesced=times,
                    time=value.time,
                    service=value.service,
                    payload=value.payload,
                )
                self._link.send(wire.latest_frame(text))

    def owe(self) -> None:
        """After a return, or when an update was missed: values the device has not acknowledged are to be sent."""
        self.debts += 1
        for way in self._ways.values():
            if way.stream.version or way.version:
                way.owed_after = 0
                self.owing = True

    def owed(self) -> dict[int, int]:
        """By subscription: values above this version are to be read. They are read as the transport takes them."""
        return {way.subscription_id: way.owed_after for way in self._ways.values() if way.owed_after is not None}

    def pay(self, found: Mapping[int, Sequence[Value]], *, complete: bool) -> None:
        """Values that are owed: one per key, unless a newer one went out. What the transport does not take stays owed.

        complete: these are all there are.
        """
        for way in self._ways.values():
            if way.owed_after is None:
                continue
            for value in found.get(way.subscription_id, ()):
                if self._link.blocked:
                    return
                self._repay(way, value)
        if complete:
            self._forgive()
            self.send()

    def _repay(self, way: Way, value: Value) -> None:
        way.owed_after = value.version
        place = (value.stream_id, value.value)
        waiting = self._waiting.get(place)
        if waiting and waiting[0].version > value.version:
            return  # committed after the read: it goes out in its turn
        if value.version > way.versions.get(value.value, 0):
            way.versions[value.value] = value.version
            self._waiting.pop(place, None)
            self._link.send(wire.latest_frame(value.text))

    def _forgive(self) -> None:
        self.owing = False
        for way in self._ways.values():
            way.owed_after = None

    def forget(self) -> None:
        """The device is in the background: nothing waits any more, the database has what it will be owed."""
        self._waiting.clear()
        self._forgive()

    def begin_anew(self) -> None:
        """The device is back: what it has, only its acknowledgements say."""
        for way in self._ways.values():
            way.version = max(way.version, way.stream.version)
            way.versions.clear()
