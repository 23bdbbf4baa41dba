"""A device of the Python client, as tests run one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from meanwhile_client import Device, FileStore, Gap, Message, Stopped

from tests.consumers.actors import DEADLINE, Phone
from tests.consumers.conftest import House


class Running:
    """A device that runs; what its handlers got."""

    def __init__(self, house: House, phone: Phone, store: Path, on_gap: Any = None, **handlers: Any) -> None:
        self.messages: list[Message] = []
        self.gaps: list[Gap] = []
        self.stopped: asyncio.Queue[Stopped] = asyncio.Queue()
        self._more = asyncio.Condition()
        self.device = Device(
            house.base,
            phone.token,
            {"turn": self._take, "gift": self._fail, **handlers},
            on_gap=on_gap or self.gaps.append,
            on_stopped=self.stopped.put,
            store=FileStore(store / "phone.json"),
        )
        self.task = asyncio.create_task(self.device.run())

    async def _take(self, message: Message) -> Any:
        async with self._more:
            self.messages.append(message)
            self._more.notify_all()
        return {"n": message.data}

    async def _fail(self, message: Message) -> None:
        await self._take(message)
        raise ValueError("no colour")

    async def got(self, count: int) -> list[Any]:
        async with asyncio.timeout(DEADLINE), self._more:
            await self._more.wait_for(lambda: len(self.messages) >= count)
        return [message.data for message in self.messages]

    async def stop(self) -> None:
        await self.device.close()
        await self.task
