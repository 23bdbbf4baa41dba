"""A device: gets what its streams hold, hands it to handlers in order, reports what became of it, comes back.

It returns by replay over the socket (`resume: "replay"`): the server sends what is behind the stated positions, so
there is nothing to merge, and an offset at or below `done` is dropped. Nothing is acknowledged before its handler
returned: the server's window bounds what is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Callable
from typing import Any

from meanwhile_client.connection import PATIENCE, Backoff, Connection, Frame
from meanwhile_client.errors import ConnectionLost, MeanwhileError
from meanwhile_client.items import Gap, Latest, Message, Stopped, Transient, known
from meanwhile_client.progress import Progress
from meanwhile_client.store import MemoryStore, Store

log = logging.getLogger("meanwhile_client")

#: Seconds between two frames, which the server bounds to 100 a second.
SPACING = 0.02
#: Bytes of a hello beside its token: it may have 4 KiB.
HELLO_ROOM = 4096 - 512

#: Async or plain. A plain one that takes long holds up the whole loop.
Handler = Callable[[Any], Any]


class Device:
    """`device = Device(url, token, {"turn": on_turn})`, then `await device.run()`.

    handlers: by message type, for messages, `latest` values and transient ones alike; what one returns goes to the
    service as the result's value, what it raises as a `failed` result (`latest` and transient ones have no results: it
    is logged). A message without a handler counts as processed.
    on_gap: what can no longer be delivered; without it, that is logged as an error. on_stopped: the app failed on a
    message whose type says `stop`; its stream waits until the next connection, the next `set_state("foreground")` or
    `retry`; without it, that is logged as an error, too. What these two raise is logged, and the device goes on.
    token: the device token, or a function that gets a fresh one from your back end; when it raises, it is asked again.
    """

    def __init__(
        self,
        url: str,
        token: str | Callable[[], Any],
        handlers: dict[str, Handler],
        *,
        on_gap: Callable[[Gap], Any] | None = None,
        on_stopped: Callable[[Stopped], Any] | None = None,
        store: Store | None = None,
        state: str = "foreground",
    ) -> None:
        self._url = url.rstrip("/").replace("http", "ws", 1) + "/ws/device"
        self._token = token
        self._handlers = handlers
        self._on_gap = on_gap
        self._on_stopped = on_stopped
        self._progress = Progress(store or MemoryStore())
        self._state, self._state_seq = state, 0
        self._connection: Connection | None = None
        self._closed = False
        self._news = asyncio.Event()
        #: Set while the server has said welcome.
        self.connected = asyncio.Event()

    # --- the app's side ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `close`. Comes back with back-off; raises MeanwhileError when the server refuses for good, and what
        the store raises. Cancelled, it ends where it is: the message in hand comes again.
        """
        backoff = Backoff()
        while not self._closed:
            try:
                await self._live()
            except ConnectionLost as lost:
                if lost.code == "token_expired" and isinstance(self._token, str):
                    raise
                if not self._closed:
                    await backoff.wait(lost)

    async def set_state(self, state: str) -> None:
        """ "background": the server keeps `latest` and transient back; "foreground": it sends the newest values."""
        self._state = state
        self._state_seq += 1
        if self._connection:
            with contextlib.suppress(ConnectionLost):  # the next hello says it
                await self._connection.send("notice", state=state, state_seq=self._state_seq, id=0)
        if state == "foreground" and self._progress.stops:
            await self._come_back()

    @property
    def stopped(self) -> dict[str, int]:
        """The offset a stream waits at, by stream."""
        return {stream: failure["offset"] for stream, failure in self._progress.stops.items()}

    async def retry(self, stream: str) -> None:
        """What the stream waits at is handed over again: by a new connection, whose replay begins there."""
        if stream in self._progress.stops:
            await self._come_back()

    async def _come_back(self) -> None:
        if self._connection:
            await self._connection.close()

    def done(self, stream: str) -> int:
        """The last offset that was handed over."""
        place = self._progress.places.get(stream)
        return place.done if place else 0

    async def close(self) -> None:
        self._closed = True
        if self._connection:
            await self._connection.close()

    # --- a connection ------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        token = await self._fresh_token()
        self._state_seq += 1
        hello = {
            "token": token,
            "state": self._state,
            "state_seq": self._state_seq,
            "resume": "replay",
            "positions": self._progress.positions(HELLO_ROOM - len(token)),
        }
        connection, welcome = await Connection.open(self._url, hello)
        self._connection = connection
        self._progress.begin(welcome["streams"])
        self._news.set()
        tasks = [
            asyncio.create_task(self._beat(connection, welcome["ping_interval_ms"] / 1000)),
            asyncio.create_task(self._report(connection)),
        ]
        try:
            self.connected.set()
            while not self._closed:
                await self._take(await connection.next())
        finally:
            self.connected.clear()
            self._connection = None
            for task in tasks:
                task.cancel()
            await connection.close()

    async def _fresh_token(self) -> str:
        if isinstance(self._token, str):
            return self._token
        try:
            token: str = await _result(self._token())
        except Exception as error:
            log.warning("no token was to be had, it is asked for again: %r", error)
            raise ConnectionLost({"code": "no_token", "detail": repr(error)}) from error
        return token

    async def _beat(self, connection: Connection, interval: float) -> None:
        """Pings when nothing was heard; gives the connection up when that is not answered."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(connection.heard + interval - loop.time(), 0.01))
            if loop.time() - connection.heard < interval:
                continue
            with contextlib.suppress(MeanwhileError):
                await connection.send("ping")
            asked = loop.time()
            await asyncio.sleep(PATIENCE)
            if connection.heard < asked:
                await connection.close()
                return

    async def _report(self, connection: Connection) -> None:
        """Tells what has been handled since it last told; not too many frames."""
        with contextlib.suppress(MeanwhileError):
            while await self._news.wait():
                self._news.clear()
                for frame in self._progress.news():
                    await connection.send(**frame)
                    await asyncio.sleep(SPACING)

    async def _take(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "message":
            await self._message(known(Message, frame))
        elif kind == "messages":
            for item in frame["items"]:
                if not self._closed:
                    await self._message(known(Message, item))
        elif kind == "gap":
            await self._gap(Gap(frame["stream"], frame["from"], frame["to"], frame["reason"]))
        elif kind == "latest":
            await self._pass_on(known(Latest, frame))
            self._progress.shown(frame["stream"], frame["version"])
        elif kind == "transient":
            await self._pass_on(known(Transient, frame))
        elif kind == "joined":
            self._progress.enter(frame)
        elif kind == "left":
            self._progress.leave(frame["stream"])
        elif kind == "results_saved":
            await self._saved(frame["stream"], frame["processed"], frame.get("stopped"))
        self._news.set()

    # --- what the app is handed --------------------------------------------------------------------------------------

    async def _message(self, message: Message) -> None:
        """Hands one over, unless it was."""
        if not self._progress.expects(message):
            return
        try:
            value = await self._call(message)
        except Exception as error:
            if self._progress.failed(message, error):
                await self._stop(message.stream, error)
        else:
            self._progress.processed(message, value)
        self._news.set()

    async def _saved(self, stream: str, processed: int, stopped: int | None) -> None:
        if self._progress.saved(stream, processed, stopped):
            detail = f"The server does not go beyond the failure at {stopped}."
            await self._stop(stream, MeanwhileError({"code": "stopped", "detail": detail}))

    async def _stop(self, stream: str, error: Exception) -> None:
        offset = self._progress.stops[stream]["offset"]
        self._news.set()
        if self._on_stopped:
            await self._tell(self._on_stopped, Stopped(stream, offset, error))
        else:
            log.error("%s waits at %d, on which its handler failed: %s", stream, offset, error)

    async def _gap(self, gap: Gap) -> None:
        if gap.stream in self._progress.stops and gap.reason != "reset":
            return  # it comes again, in its place
        if self._on_gap:
            await self._tell(self._on_gap, gap)
        else:
            log.error("%s: %d to %d will not come: %s", gap.stream, gap.first, gap.last, gap.reason)
        if gap.reason != "reset" and gap.last > self.done(gap.stream):
            self._progress.go_on(gap.stream, gap.last)

    async def _pass_on(self, what: Latest | Transient) -> None:
        """Nobody is told what became of these: what a handler raises is for the app's log, and the device goes on."""
        try:
            await self._call(what)
        except Exception:
            log.exception("the handler of %s failed in %s", what.name, what.stream)

    async def _tell(self, told: Callable[[Any], Any], what: Gap | Stopped) -> None:
        """It is told once: again would not help an app that cannot take it, and everything behind it would wait."""
        try:
            await _result(told(what))
        except Exception:
            log.exception("%s could not be told of %s", getattr(told, "__name__", told), what)

    async def _call(self, what: Message | Latest | Transient) -> Any:
        handler = self._handlers.get(what.name)
        return await _result(handler(what)) if handler else None


async def _result(of: Any) -> Any:
    """What a call gave, async or plain."""
    return await of if inspect.isawaitable(of) else of
