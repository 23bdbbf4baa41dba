"""What came in one stream and waits for its handler. Nothing here waits or sends."""

from __future__ import annotations

from collections import deque

from meanwhile_client.items import Gap, Latest, Message, Stopped, Transient
from meanwhile_client.store import Place

#: Messages that are acknowledged at most before their handler. What comes beyond fills the server's window, so at most
#: this and a window wait in memory, per stream.
AHEAD = 256
#: Seconds a handler may hold up one message while the window is full of what waits behind it.
STUCK = 5.0

Item = Message | Gap | Latest | Transient | Stopped


class Lane:
    """In order, one at a time. It outlives connections: what waits is not handed over again."""

    def __init__(self, place: Place) -> None:
        self.busy = False
        #: Of values the newest by key, in the order of their versions.
        self.values: dict[tuple[str, str], Latest] = {}
        self._values_turn = False
        self.reset(place)

    def reset(self, place: Place) -> None:
        """What waits is void: it comes again, or is of another history."""
        self.place = place
        #: The last offset that was taken in.
        self.upto = place.done
        self.waiting: deque[Message | Gap | Transient | Stopped] = deque()
        self.values.clear()
        #: What comes is acknowledged and dropped until the next connection.
        self.shedding = False

    def message(self, message: Message) -> None:
        if message.offset == self.upto + 1 and not self.shedding:
            self.upto = message.offset
            self.waiting.append(message)

    def gap(self, gap: Gap) -> None:
        if gap.reason == "reset":
            self.waiting.append(gap)
        elif gap.last > self.upto and not self.shedding:
            self.upto = gap.last
            self.waiting.append(gap)

    def value(self, value: Latest) -> None:
        """It takes the place of the one that waits."""
        self.values.pop((value.name, value.key), None)
        self.values[value.name, value.key] = value

    def transient(self, transient: Transient) -> None:
        """Now or never: not where so much waits already."""
        if len(self.waiting) < AHEAD:
            self.waiting.append(transient)

    def next(self) -> Item | None:
        """What is to be handed over. Values take turns with the rest: neither keeps the other waiting for good."""
        if self.values and (self._values_turn or not self.waiting):
            self._values_turn = False
            return self.values.pop(next(iter(self.values)))
        self._values_turn = True
        return self.waiting.popleft() if self.waiting else None
