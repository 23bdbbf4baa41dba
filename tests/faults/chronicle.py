"""One history, written by everybody who takes part, and waited on instead of time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tests.faults.history import Event


class Chronicle:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()

    def add(self, *events: Event) -> None:
        self.events += events
        self._news.set()

    async def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Whether it holds, as soon as it does, or when the time is up. Looks again after every event."""
        end = time.monotonic() + seconds
        while not holds():
            self._news.clear()
            try:
                async with asyncio.timeout(end - time.monotonic()):
                    await self._news.wait()
            except TimeoutError:
                return holds()
        return True

    async def grown(self, by: int, seconds: float) -> bool:
        """Whether so many more events came in time."""
        wanted = len(self.events) + by
        return await self.until(lambda: len(self.events) >= wanted, seconds)
