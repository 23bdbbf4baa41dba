from __future__ import annotations


class Bucket:
    """A token bucket: `rate` a second, `burst` at once. Time is passed in (s)."""

    __slots__ = ("_burst", "_rate", "_time", "_tokens")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._time = burst, now

    @property
    def tokens(self) -> float:
        """What was left when it was last asked."""
        return self._tokens

    def spend(self, now: float, cost: float) -> float:
        """0, and the cost is taken; or how many seconds until it may pass.

        What is above the burst passes from a full bucket, and is owed.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._time) * self._rate)
        self._time = now
        missing = min(cost, self._burst) - self._tokens
        if missing > 0:
            return missing / self._rate
        self._tokens -= cost
        return 0.0

    def take(self, now: float, cost: float = 1) -> bool:
        """Whether `cost` may pass now."""
        self._tokens = min(self._burst, self._tokens + (now - self._time) * self._rate)
        self._time = now
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True
