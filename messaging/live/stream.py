"""A stream as this process sees it: its head, and a ring of its recent messages."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from messaging.log.effects import Appended, Item

if TYPE_CHECKING:
    from messaging.live.way import Way


class LiveStream:
    """Keeps `ring` unbroken: its items are the offsets ring[0] … head, or it is empty."""

    __slots__ = ("closed", "epoch", "head", "id", "name", "ring", "tail", "version", "watchers", "ways")

    def __init__(self, id: int, name: str, *, epoch: str, head: int, tail: int, version: int, ring: int) -> None:
        self.id = id
        self.name = name
        self.epoch = epoch
        self.head = head
        self.tail = tail
        self.version = version
        self.closed = False
        self.ring: deque[Item] = deque(maxlen=ring)
        self.ways: dict[int, Way] = {}
        #: Of waiting pulls: set when something came that a pull would tell.
        self.watchers: set[asyncio.Event] = set()

    @property
    def wanted(self) -> bool:
        """Whether anybody here wants to hear of it."""
        return bool(self.ways or self.watchers)

    def wake(self) -> None:
        for watcher in self.watchers:
            watcher.set()

    def extend(self, appended: Appended) -> bool:
        """Takes what was appended, whatever the order it arrives in. Whether the head moved."""
        if appended.head <= self.head:
            return False
        for item in appended.items:
            if self.ring and item.offset != self.ring[-1].offset + 1:
                if item.offset <= self.ring[-1].offset:
                    continue
                self.ring.clear()
            self.ring.append(item)
        if self.ring and self.ring[-1].offset != appended.head:
            self.ring.clear()
        self.head = appended.head
        return True

    def seen(self, head: int) -> bool:
        """A head that was read from the database. Whether it is news: then the ring has a hole and starts anew."""
        if head <= self.head:
            return False
        self.head = head
        self.ring.clear()
        return True

    def raised(self, tail: int) -> None:
        """Nothing below this is stored any more: memory forgets it, too, and a gap says what became of it."""
        self.tail = tail
        while self.ring and self.ring[0].offset < tail:
            self.ring.popleft()

    def recent(self, offset: int, count: int) -> list[Item] | None:
        """Up to `count` items from `offset` on; None where the ring does not reach back so far."""
        if not self.ring or offset < self.ring[0].offset:
            return None
        start = offset - self.ring[0].offset
        if start == len(self.ring) - 1:
            return [self.ring[-1]]
        return [self.ring[place] for place in range(start, min(start + count, len(self.ring)))]
