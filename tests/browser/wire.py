"""A cable for tests that are not async: the browser's. It lies in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from tests.consumers.cable import Cable


class Wire:
    def __init__(self, base: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._thread.start()
        self._cable = self._do(self._lay(base))
        self.base = self._cable.base

    @staticmethod
    async def _lay(base: str) -> Cable:
        return await Cable(base).lay()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    @property
    def connections(self) -> int:
        return self._cable.connections

    def cut(self, *, told: bool = False) -> None:
        """Nothing passes any more. told: both ends hear it by a reset, else neither hears a thing."""
        self._do(self._cut(told))

    async def _cut(self, told: bool) -> None:
        self._cable.cut()
        if told:
            await self._cable.drop()

    def mend(self) -> None:
        self._do(self._cable.mend())

    def close(self) -> None:
        self._do(self._cable.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
