"""One WebSocket: requests are answered by their `re`, everything else comes in order."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from meanwhile_client.errors import ConnectionLost, MeanwhileError

Frame = dict[str, Any]
SUBPROTOCOL = "meanwhile.v1.json"
#: Close codes from here on are final: who comes back is sent away again.
FINAL = 4500
#: Seconds for an answer to the hello or a ping.
PATIENCE = 10.0
#: Largest frame that is taken: a window of messages in one.
MAX_FRAME = 16 * 1024 * 1024


class Connection:
    """Closed by the server or the network, everything that waits raises ConnectionLost, or MeanwhileError if final."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._asked: dict[int, asyncio.Future[Frame]] = {}
        self._last_id = 0
        self._bye: Frame = {}
        self.heard = asyncio.get_running_loop().time()

    @classmethod
    async def open(cls, url: str, hello: Frame) -> tuple[Connection, Frame]:
        """→ the connection and its welcome."""
        try:
            socket = await connect(url, subprotocols=[SUBPROTOCOL], max_size=MAX_FRAME, ping_interval=None)  # type: ignore[list-item]
        except (OSError, InvalidHandshake, TimeoutError) as error:
            raise ConnectionLost({"detail": str(error)}) from error
        connection = cls(socket)
        try:
            async with asyncio.timeout(PATIENCE):
                await connection.send("hello", **hello)
                return connection, await connection.next()
        except TimeoutError:
            await connection.close()
            raise ConnectionLost({"detail": "No welcome in time."}) from None
        except BaseException:
            await connection.close()
            raise

    async def send(self, type: str, **members: Any) -> None:
        try:
            await self._socket.send(json.dumps({"type": type, **members}, allow_nan=False))
        except ConnectionClosed:
            raise self.ended() from None

    async def request(self, type: str, **members: Any) -> asyncio.Future[Frame]:
        """Sends, and returns what will be the answer: many may be under way. Somebody must be in `next`."""
        self._last_id += 1
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._asked[self._last_id] = answer
        try:
            await self.send(type, id=self._last_id, **members)
        except MeanwhileError:
            self._asked.pop(self._last_id, None)
            raise
        return answer

    async def next(self) -> Frame:
        """The next frame that answers no request. Raises when the connection has ended."""
        while True:
            try:
                text = await self._socket.recv()
            except ConnectionClosed:
                raise self._fail() from None
            self.heard = asyncio.get_running_loop().time()
            frame: Frame = json.loads(text)
            answer = self._asked.pop(frame["re"], None) if "re" in frame else None
            if answer is not None:
                _settle(answer, frame)
            elif frame["type"] == "bye":
                self._bye = frame
            else:
                return frame

    def ended(self) -> MeanwhileError:
        """Why the connection is over: ConnectionLost where coming back may help."""
        final = (self._socket.close_code or 0) >= FINAL
        return MeanwhileError(self._bye) if final and self._bye else ConnectionLost(self._bye)

    def _fail(self) -> MeanwhileError:
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            if not answer.done():
                answer.set_exception(self.ended())
                answer.exception()  # whoever gave up waiting is not to be warned of it
        return self.ended()

    async def close(self) -> None:
        await self._socket.close()
        self._fail()


def _settle(answer: asyncio.Future[Frame], frame: Frame) -> None:
    if answer.done():
        return
    if frame["type"] == "error":
        answer.set_exception(MeanwhileError(frame))
    else:
        answer.set_result(frame)


class Backoff:
    """Waits between connections: full jitter, 0.5 to 20 s, from the start again after a minute of quiet."""

    def __init__(self, *, least: float = 0.5, most: float = 20.0, quiet: float = 60.0) -> None:
        self._least, self._most, self._quiet = least, most, quiet
        self._failures = 0
        self._last = 0.0

    async def wait(self, error: MeanwhileError) -> None:
        now = asyncio.get_running_loop().time()
        self._failures = 0 if now - self._last > self._quiet else self._failures + 1
        self._last = now
        ceiling = min(self._most, self._least * 2**self._failures)
        await asyncio.sleep(max(error.retry_after, random.uniform(0, ceiling)))  # noqa: S311 - spreads load
