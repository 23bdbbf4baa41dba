"""The real SDK in Node.js: devices that are told what to do, and what they say of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

Line = dict[str, Any]
SCRIPT = Path(__file__).with_name("phones.mjs")
MOST = 1024 * 1024


class Phones:
    """One process of Node.js with many devices. `listen` decides who hears what a device says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._hear: dict[str, Callable[[Line], None]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls) -> AsyncIterator[Phones]:
        node = shutil.which("node")
        assert node, "Node.js 20 or newer is needed: https://nodejs.org/en/download"
        pipe = asyncio.subprocess.PIPE
        # Node.js 20 has no WebSocket without being asked.
        process = await asyncio.create_subprocess_exec(
            node, "--experimental-websocket", "--no-warnings", str(SCRIPT), stdin=pipe, stdout=pipe, limit=MOST
        )
        phones = cls(process)
        reading = asyncio.create_task(phones._read())
        try:
            yield phones
        finally:
            assert process.stdin
            process.stdin.close()  # it ends by itself
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
            if process.returncode is None:
                process.kill()
            await reading
            await process.wait()

    def listen(self, device: str, hear: Callable[[Line], None]) -> None:
        self._hear[device] = hear

    def tell(self, what: str, device: str, **about: Any) -> None:
        """what: start {url, token, resume}, background, foreground, online, inspect, stop."""
        assert self._process.stdin
        assert self._process.returncode is None, "Node.js is gone"
        self._process.stdin.write(json.dumps({"do": what, "device": device, **about}).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout
        async for text in self._process.stdout:
            line: Line = json.loads(text)
            self._hear[line["device"]](line)
