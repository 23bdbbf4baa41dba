"""The connection as a session sees it, and several messages in one frame of it."""

from __future__ import annotations

from typing import Protocol

from messaging.live.way import Way
from messaging.log.effects import Item
from messaging.protocol import wire

#: Bytes of one frame: well below what daphne drops (1 MiB).
FRAME = 192 * 1024


class Link(Protocol):
    def send(self, text: str) -> None: ...

    @property
    def blocked(self) -> bool:
        """Whether the transport takes nothing at this moment."""
        ...

    def bye(self, code: str, *, detail: str = "", retry_after_ms: int = 0) -> None:
        """Says why, and closes."""
        ...

    def check(self, now: float) -> None:
        """Once a round: silence, stalls and tokens that ran out (seconds, monotonic)."""
        ...


class Batch:
    """Messages that go out together; a frame's worth is sent at once, the rest by `send`."""

    __slots__ = ("_link", "_size", "_texts")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._texts: list[str] = []
        self._size = 0

    def add(self, way: Way, item: Item) -> None:
        """The next message of a way: from here on its window holds it."""
        text = wire.again(item.text) if item.offset <= way.received else item.text
        self._texts.append(text)
        size = wire.octets(text)
        self._size += size
        way.lane.sent(item.offset, size)
        if self._size > FRAME:
            self.send()

    def send(self) -> None:
        if len(self._texts) == 1:
            self._link.send(wire.message_frame(self._texts[0]))
        elif self._texts:
            self._link.send(wire.messages_frame(self._texts))
        self._texts.clear()
        self._size = 0
