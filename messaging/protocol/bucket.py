from __future__ import annotations


class Bucket:
    """A token bucket: `rate` a second, `burst` at once. Time is passed in (s)."""

    __slots__ = ("_burst", "_rate", "_time", "_tokens")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._time = burst, now

    def take(self, now: float, cost: float = 1) -> bool:
        """Whether `cost` may pass now."""
        self._tokens = min(self._burst, self._tokens + (now - self._time) * self._rate)
        self._time = now
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True
