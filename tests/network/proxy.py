"""A TCP proxy that breaks: what lies between a device and its servers. Each direction of a connection by itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import Sequence

from tests.network.plan import BOTH, DOWN, UP, Fault

CHUNK = 16 * 1024
#: What one direction holds while nobody takes it (bytes), besides the kernel.
HOLDS = 8 * 1024
#: Seconds a chunk is late.
LATE = (0.02, 0.3)
RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Passes everything on to one of the servers until a fault strikes; `heal` ends what lasts.

    A connection that is black-holed stays so: only who uses it can find out.
    """

    def __init__(self, ports: Sequence[int], *, seed: int) -> None:
        self.random = random.Random(seed)
        #: How often each fault met something.
        self.struck: Counter[str] = Counter()
        self.port = 0
        self._ports = ports
        self._lasting: list[Fault] = []
        self._links: set[_Link] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def open(self) -> Proxy:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, limit=HOLDS)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()
        while self._running:  # some may just be connecting
            for link in list(self._links):
                link.end()
            await asyncio.wait(self._running, timeout=0.2)

    # --- faults ------------------------------------------------------------------------------------------------------

    def strike(self, fault: Fault) -> None:
        """From now on. `end` is to be called when its time is over."""
        self._lasting.append(fault)
        for link in list(self._links):
            link.struck_by(fault)

    def end(self, fault: Fault) -> None:
        self._lasting = [one for one in self._lasting if one is not fault]
        self._changed.set()
        self._changed = asyncio.Event()

    def heal(self) -> None:
        for fault in list(self._lasting):
            self.end(fault)

    def suffers(self, kind: str, way: str) -> bool:
        """Whether a fault of this kind lasts in this direction."""
        return any(fault.kind == kind and fault.way in {way, BOTH} for fault in self._lasting)

    def met(self, kind: str, way: str) -> None:
        self.struck[kind] += 1
        self.struck[f"{kind} {way}"] += 1

    async def thawed(self, way: str) -> None:
        """Returns when nothing is frozen in this direction."""
        while self.suffers("freeze", way):
            self.met("freeze", way)
            await self._changed.wait()

    # --- connections -------------------------------------------------------------------------------------------------

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.suffers("cut", BOTH):
            self.met("cut", BOTH)
            writer.transport.abort()
            return
        try:
            port = self.random.choice(self._ports)
            server = await asyncio.open_connection("127.0.0.1", port, limit=HOLDS)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self, (reader, writer), server)
        self._links.add(link)
        for fault in self._lasting:
            link.born_under(fault)
        try:
            await link.run()
        finally:
            self._links.discard(link)


class _Link:
    """One connection of a device, and the one to the server that belongs to it."""

    def __init__(
        self,
        proxy: Proxy,
        device: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._readers = {UP: device[0], DOWN: server[0]}
        self._writers = {UP: server[1], DOWN: device[1]}
        #: Directions in which nothing arrives any more; not even that there is an end.
        self._holes: set[str] = set()
        self._is_socket = False
        #: Directions in which a head has passed whose body is to come.
        self._body_comes: set[str] = set()
        self._over = asyncio.Event()

    async def run(self) -> None:
        pumps = [asyncio.create_task(self._pump(way)) for way in (UP, DOWN)]
        try:
            await self._over.wait()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for writer in self._writers.values():
                writer.close()

    def end(self) -> None:
        self._over.set()

    # --- faults ------------------------------------------------------------------------------------------------------

    def struck_by(self, fault: Fault) -> None:
        strikes = {
            "black_hole": self._lose,
            "half_close": self._close_half,
            "reset": self._forget,
            "cut": self._cut,
            **({"no_sockets": self._cut} if self._is_socket else {}),
        }
        if strike := strikes.get(fault.kind):
            self._proxy.met(fault.kind, fault.way)
            strike(fault.way)
        elif fault.kind == "cut_in_body" and self._is_socket:
            self.end()  # so that something is asked for over HTTP

    def born_under(self, fault: Fault) -> None:
        """What lasts meets new connections, too."""
        if fault.kind == "black_hole":
            self.struck_by(fault)

    def _lose(self, way: str) -> None:
        self._holes |= _ways(way)

    def _cut(self, way: str) -> None:
        self.end()

    def _close_half(self, way: str) -> None:
        self._finish(way)
        self._holes.add(way)

    def _forget(self, way: str) -> None:
        """Whoever hears of it hears a reset, the other side nothing, ever."""
        for one in _ways(way):
            self._reset(self._writers[one])
        self._holes |= {UP, DOWN}
        if way == BOTH:
            self.end()

    @staticmethod
    def _reset(writer: asyncio.StreamWriter) -> None:
        if (sock := writer.get_extra_info("socket")) and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()

    def _finish(self, way: str) -> None:
        writer = self._writers[way]
        with contextlib.suppress(OSError, RuntimeError):
            if not writer.is_closing() and writer.can_write_eof():
                writer.write_eof()

    # --- bytes -------------------------------------------------------------------------------------------------------

    async def _pump(self, way: str) -> None:
        try:
            while data := await self._read(way):
                await self._pass(way, data)
        except OSError:
            if way not in self._holes:
                self._reset(self._writers[way])
                self.end()
            return
        if way not in self._holes:
            await self._proxy.thawed(way)
            self._finish(way)
        if self._readers[UP].at_eof() and self._readers[DOWN].at_eof():
            self.end()

    async def _read(self, way: str) -> bytes:
        await self._proxy.thawed(way)
        return await self._readers[way].read(CHUNK)

    async def _pass(self, way: str, data: bytes) -> None:
        if way == UP and data.startswith(b"GET /ws/"):
            self._is_socket = True
            if self._proxy.suffers("no_sockets", BOTH):
                self._proxy.met("no_sockets", BOTH)
                self.end()
                return
        place = self._in_body(way, data)
        if self._proxy.suffers("latency", way):
            self._proxy.met("latency", way)
            await asyncio.sleep(self._proxy.random.uniform(*LATE))
        await self._proxy.thawed(way)
        if way in self._holes:
            return
        if place and self._proxy.suffers("cut_in_body", way):
            self._proxy.met("cut_in_body", way)
            await self._write(way, data[:place])
            self.end()
            return
        await self._write(way, data)

    def _in_body(self, way: str, data: bytes) -> int:
        """A place in the middle of an HTTP body; 0 if there is none in this chunk."""
        if self._is_socket:
            return 0
        if way in self._body_comes:
            self._body_comes.discard(way)
            return self._proxy.random.randrange(1, len(data)) if len(data) > 1 else 0
        head, _, body = data.partition(b"\r\n\r\n")
        if not body and b"\r\ncontent-length: 0" not in (lower := head.lower()) and b"\r\ncontent-type:" in lower:
            self._body_comes.add(way)
        return len(data) - self._proxy.random.randrange(1, len(body)) if len(body) > 1 else 0

    async def _write(self, way: str, data: bytes) -> None:
        writer = self._writers[way]
        if self._proxy.suffers("dribble", way):
            self._proxy.met("dribble", way)
        while data and not writer.is_closing():
            size = 1 if self._proxy.suffers("dribble", way) else len(data)
            writer.write(data[:size])
            data = data[size:]
            await asyncio.sleep(0)
        await writer.drain()


def _ways(way: str) -> set[str]:
    return {UP, DOWN} if way == BOTH else {way}
