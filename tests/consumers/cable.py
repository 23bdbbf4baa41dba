"""A cable between a client and a server, which can be cut as a train in a tunnel cuts it: nobody is told."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit


class Cable:
    """Listens on a port of its own and passes bytes on, both ways, until it is cut."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._target = (parts.hostname, parts.port)
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._whole = asyncio.Event()
        self._whole.set()
        #: Connections that were made over it.
        self.connections = 0

    async def lay(self) -> Cable:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.base = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._writers += [writer, far_writer]
        for one, other in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass(one, other))
            self._tasks.add(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._whole.wait()
            writer.write(data)
            await writer.drain()

    def cut(self) -> None:
        """From here on nothing passes, and neither end hears of it: no FIN, no RST."""
        self._whole.clear()

    async def drop(self) -> None:
        """Ends every connection with a reset at both ends; what was on its way is lost. It stays cut, if it is."""
        tasks, self._tasks = self._tasks, set()
        writers, self._writers = self._writers, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()

    async def mend(self) -> None:
        """New connections pass; those from before the cut are dropped, as by a network that has forgotten them."""
        await self.drop()
        self._whole.set()

    async def close(self) -> None:
        await self.drop()
        self._server.close()
