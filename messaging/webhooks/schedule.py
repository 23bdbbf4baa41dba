"""When a delivery is tried again. PURE: the schedule of the Standard Webhooks specification, spread a little."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

HOUR = 3600.0
#: Seconds after the first, the second … failure. After the last: a dead letter, three days and a bit after the first.
DELAYS = (5.0, 300.0, 1800.0, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
#: Attempts in all.
ATTEMPTS = len(DELAYS) + 1
#: What a receiver may ask us to wait at most.
LONGEST_WAIT = 24 * HOUR
#: A part of the delay that is added at random, so that what failed together does not come again together.
SPREAD = 0.1


def delay_after(attempts: int, *, asked: float | None, chance: float) -> float | None:
    """Seconds until the next attempt after so many; None: there is none.

    asked: what the receiver's Retry-After says. chance: a random number from 0 to 1.
    """
    if attempts >= ATTEMPTS:
        return None
    wait = max(DELAYS[attempts - 1], min(asked or 0.0, LONGEST_WAIT))
    return wait * (1 + SPREAD * chance)


def retry_after(header: str | None, now: datetime) -> float | None:
    """The seconds a Retry-After asks for, as a number or as a date; None where it says nothing that can be read."""
    if not header or len(header) > 64:
        return None
    if header.strip().isascii() and header.strip().isdigit():
        return float(min(int(header.strip()), int(LONGEST_WAIT)))
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - now).total_seconds(), 0.0)
