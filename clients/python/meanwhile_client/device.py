"""A device: gets what its streams hold, hands it to handlers in order, reports what became of it, comes back.

It returns by replay over the socket (`resume: "replay"`): the server sends what is behind the stated positions, so
there is nothing to merge, and an offset that was taken in is dropped. Each stream has its own lane to the handlers: one
that hangs holds up its stream alone. What waits in a lane is acknowledged up to a bound (`lane.py`); beyond, the
server's window holds it back, until a handler hangs for so long that what waits behind it is dropped, to come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from meanwhile_client import lane as lanes
from meanwhile_client.connection import PATIENCE, Backoff, Connection, Frame
from meanwhile_client.errors import ConnectionLost, MeanwhileError
from meanwhile_client.handing import Handler, Hands, result
from meanwhile_client.items import Gap, Latest, Message, Stopped, Transient, known
from meanwhile_client.lane import Lane
from meanwhile_client.progress import Progress
from meanwhile_client.store import MemoryStore, Store

log = logging.getLogger("meanwhile_client")

#: Seconds between two frames, which the server bounds to 100 a second.
SPACING = 0.02
#: Bytes of a hello beside its token: it may have 4 KiB.
HELLO_ROOM = 4096 - 512
#: Seconds a receipt waits: if the handler has returned by then, the result says it, too.
RECEIPT = 0.05


class Device:
    """`device = Device(url, token, {"turn": on_turn})`, then `await device.run()`.

    handlers: by message type, for messages, `latest` values and transient ones alike: in each stream one at a time, in
    order, those of several streams side by side. What one returns goes to the service as the result's value, what it
    raises as a `failed` result (`latest` and transient ones have no results: it is logged). A message without a handler
    counts as processed.
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
        self._progress = Progress(store or MemoryStore())
        self._hands = Hands(self._progress, handlers, on_gap, on_stopped)
        self._lanes: dict[str, Lane] = {}
        self._works: set[asyncio.Task[None]] = set()
        self._state, self._state_seq = state, 0
        self._connection: Connection | None = None
        self._closed = False
        #: Why nothing more is handed over: what the store raised.
        self._broken: BaseException | None = None
        self._ending = False
        self._news = asyncio.Event()
        self._crowd = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None
        #: Set while the server has said welcome.
        self.connected = asyncio.Event()

    # --- the app's side ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `close`. Comes back with back-off; raises MeanwhileError when the server refuses for good, and what
        the store raises; in each case when the handlers that run have returned. Cancelled, it ends where it is: the
        messages in hand come again.
        """
        self._ending, self._broken = False, None
        try:
            await self._come_and_go()
        except asyncio.CancelledError:
            for work in self._works:
                work.cancel()
            raise
        finally:
            self._ending = True
            await asyncio.gather(*self._works, return_exceptions=True)
            self._lanes.clear()
        if self._broken:
            raise self._broken

    async def _come_and_go(self) -> None:
        backoff = Backoff()
        while not self._closed and not self._broken:
            try:
                await self._live()
            except ConnectionLost as lost:
                if lost.code == "token_expired" and isinstance(self._token, str):
                    raise
                if not self._closed and not self._broken:
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
        for lane in self._lanes.values():
            lane.shedding = False  # what was dropped comes again
        self._news.set()
        tasks = [
            asyncio.create_task(self._beat(connection, welcome["ping_interval_ms"] / 1000)),
            asyncio.create_task(self._report(connection)),
            asyncio.create_task(self._relieve()),
        ]
        try:
            self.connected.set()
            while not self._closed and not self._broken:
                self._take(await connection.next())
        finally:
            self.connected.clear()
            self._connection = None
            if self._soon:
                self._soon.cancel()
                self._soon = None
            for task in tasks:
                task.cancel()
            await connection.close()

    async def _fresh_token(self) -> str:
        if isinstance(self._token, str):
            return self._token
        try:
            token: str = await result(self._token())
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

    # --- what comes --------------------------------------------------------------------------------------------------

    def _take(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "message":
            self._message(known(Message, frame))
        elif kind == "messages":
            for item in frame["items"]:
                self._message(known(Message, item))
        elif kind in ("gap", "latest", "transient"):
            self._other(kind, frame)
        elif kind == "results_saved":
            self._saved(frame["stream"], frame["processed"], frame.get("stopped"))
        elif kind == "joined":
            self._progress.enter(frame)
        elif kind == "left":
            self._progress.leave(frame["stream"])

    def _message(self, message: Message) -> None:
        lane = self._lane(message.stream)
        if lane is None:
            return
        self._progress.came(message)
        if self._progress.crowded(message.stream):
            self._crowd.set()
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(RECEIPT, self._tell_soon)
        if message.stream in self._progress.stops:
            return  # it comes again, behind the one that failed
        if message.offset > lane.upto + 1 and not lane.shedding:
            raise ConnectionLost({"detail": f"{message.stream} has an unexplained hole: the replay begins again."})
        lane.message(message)
        self._start(lane)

    def _other(self, kind: str, frame: Frame) -> None:
        lane = self._lane(frame["stream"])
        if lane is None:
            return
        if kind == "latest":
            lane.value(known(Latest, frame))
        elif kind == "transient":
            lane.transient(known(Transient, frame))
        elif frame["stream"] not in self._progress.stops or frame["reason"] == "reset":
            lane.gap(Gap(frame["stream"], frame["from"], frame["to"], frame["reason"]))
        self._start(lane)

    def _saved(self, stream: str, processed: int, stopped: int | None) -> None:
        if self._progress.saved(stream, processed, stopped) and (lane := self._lane(stream)):
            detail = f"The server does not go beyond the failure at {stopped}."
            lane.reset(lane.place)
            offset = self._progress.stops[stream]["offset"]
            lane.waiting.append(Stopped(stream, offset, MeanwhileError({"code": "stopped", "detail": detail})))
            self._news.set()
            self._start(lane)

    def _tell_soon(self) -> None:
        self._soon = None
        self._news.set()

    # --- lanes -------------------------------------------------------------------------------------------------------

    def _lane(self, stream: str) -> Lane | None:
        """A stream's lane to the handlers; None: the device has left it."""
        place = self._progress.places.get(stream)
        lane = self._lanes.get(stream)
        if place is None:
            return None
        if lane is None:
            lane = self._lanes[stream] = Lane(place)
        elif lane.place is not place or place.done > lane.upto:
            lane.reset(place)
        return lane

    def _start(self, lane: Lane) -> None:
        if not lane.busy:
            lane.busy = True
            work = asyncio.create_task(self._work(lane))
            self._works.add(work)
            work.add_done_callback(self._works.discard)

    async def _work(self, lane: Lane) -> None:
        """Hands over what waits, one after the other."""
        try:
            while not (self._closed or self._ending or self._broken) and (item := lane.next()):
                if self._progress.places.get(item.stream) is lane.place:
                    await self._hands.over(lane, item)
                    self._news.set()
                await asyncio.sleep(0)  # a plain handler does not wait for anything: the other streams' turn
        except BaseException as error:
            if self._ending:
                raise
            self._broken = error
            await self._come_back()
        finally:
            lane.busy = False
        if lane.shedding:
            await self._come_back()

    async def _relieve(self) -> None:
        """Where a handler hangs, and what waits behind it fills the window, lets that go by: other streams need it.

        LIMIT: not where it is only slow, for all that waits would be sent again after each 300 of it: while more than
        AHEAD messages wait for a slow handler, the other streams of the device are as slow.
        """
        places = self._progress.places
        while await self._crowd.wait():
            self._crowd.clear()
            before = {stream: place.done for stream, place in places.items() if self._progress.crowded(stream)}
            await asyncio.sleep(lanes.STUCK)
            for stream, done in before.items():
                if self._progress.crowded(stream) and places[stream].done == done and (lane := self._lane(stream)):
                    lane.shedding = True
                    self._progress.shed.add(stream)
                    self._news.set()
            if any(self._progress.crowded(stream) for stream in before.keys() - self._progress.shed):
                self._crowd.set()
