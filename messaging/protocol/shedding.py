"""What a room takes when more comes than it may send: a token bucket per stream, kept as one moment.

The bucket holds two seconds' worth. `busy_until` is when the room will have sent what it took: that much ahead of now,
the bucket is that much emptier. One number, which the stream's row keeps for all processes.
"""

from __future__ import annotations

LOW, NORMAL, CONTROL = "low", "normal", "control"

#: Seconds' worth of messages that may come at once: of normal ones, and of low ones, which leave the rest to those.
BURST, LOW_BURST = 2.0, 1.0
_EXACT = 1e-6


def admitted(*, priority: str, busy_until: float, now: float, rate: int) -> float | None:
    """The room's new `busy_until` if it takes this message now, None if the message is shed.

    rate: messages a second. Low ones are shed first: they find the bucket empty when half of it is left. Control
    commands are always taken; they cost as any other, but never more than the bucket holds.
    """
    ahead = max(busy_until - now, 0.0)
    if ahead > BURST + _EXACT:
        ahead = 0.0  # The clock was set back: the room must not stay shut until it has caught up.
    after = ahead + 1 / rate
    if priority == CONTROL:
        return now + min(after, BURST)
    return now + after if after <= (LOW_BURST if priority == LOW else BURST) + _EXACT else None
