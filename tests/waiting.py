"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE = 30.0


def until(holds: Callable[[], object], what: str, seconds: float = DEADLINE) -> None:
    """Returns when the condition holds; fails when it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not in {seconds:g} s: {what}"
        time.sleep(0.02)
