"""What one connection has sent and the client has not acknowledged: bounded by number and bytes (P8)."""

from __future__ import annotations

from collections import deque


class Window:
    """The bound of a connection, shared by its lanes."""

    __slots__ = ("_max_bytes", "_max_count", "bytes", "count")

    def __init__(self, *, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self.count = 0
        self.bytes = 0

    @property
    def room(self) -> int:
        """How many more messages may go out. The byte bound lets one message pass that is larger than all of it."""
        return self._max_count - self.count if self.bytes < self._max_bytes else 0


class Lane:
    """The way of one stream to one connection: sends `next`, never skips."""

    __slots__ = ("_claimed", "_sizes", "_window", "acked", "next")

    def __init__(self, window: Window, *, after: int) -> None:
        self._window = window
        self._sizes: deque[tuple[int, int]] = deque()
        self.next = after + 1
        self.acked = after
        #: What the device said that it has, also beyond what was sent on this connection.
        self._claimed = 0

    def sent(self, offset: int, size: int) -> None:
        """A message went out; everything up to it counts as told.

        Sent again to a device that has it, it waits for no receipt: there will not be another one, and a window full of
        such messages would never open.
        """
        self.next = offset + 1
        if offset <= self._claimed:
            self.acked = max(self.acked, offset)
            return
        self._sizes.append((offset, size))
        self._window.count += 1
        self._window.bytes += size

    def skip(self, upto: int) -> None:
        """Nothing up to here will be sent: the pull owns it, or a gap says so."""
        self.next = max(self.next, upto + 1)

    def ack(self, upto: int) -> None:
        """A receipt, cumulative; beyond what was sent it counts when that is sent."""
        self._claimed = max(self._claimed, upto)
        self.acked = max(self.acked, min(upto, self.next - 1))
        while self._sizes and self._sizes[0][0] <= self.acked:
            _, size = self._sizes.popleft()
            self._window.count -= 1
            self._window.bytes -= size

    @property
    def waits(self) -> bool:
        """Whether something was sent that is not acknowledged."""
        return bool(self._sizes)

    def holds(self, offset: int) -> bool:
        """Whether this offset was sent and is not acknowledged. From any thread."""
        return any(sent == offset for sent, _ in list(self._sizes))

    def own_pull(self, cut: int) -> None:
        """The pull owns everything ≤ cut: the live path begins after it, and nothing before it is awaited."""
        self.skip(cut)
        self.ack(cut)

    def rewind(self, after: int) -> None:
        """Sends again from after + 1."""
        while self._sizes:
            _, size = self._sizes.popleft()
            self._window.count -= 1
            self._window.bytes -= size
        self.acked = after
        self.next = after + 1

    def forget(self) -> None:
        """Gives the window back what this lane holds of it."""
        self.rewind(self.next - 1)
