"""A device: gets what its streams hold, hands it to handlers in order, reports what became of it, comes back.

It returns by replay over the socket (`resume: "replay"`): the server sends what is behind the stated positions, so
there is nothing to merge, and an offset at or below `done` is dropped. Nothing is acknowledged before its handler
returned: the server's window bounds what is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from meanwhile_client.connection import PATIENCE, Backoff, Connection, Frame
from meanwhile_client.errors import ConnectionLost, MeanwhileError
from meanwhile_client.store import MemoryStore, Place, Store

log = logging.getLogger("meanwhile_client")


@dataclass(frozen=True)
class Message:
    stream: str
    offset: int
    name: str
    time: str
    service: str | None
    data: Any
    redelivered: bool = False
    #: "stop": where its handler raises, the stream waits.
    on_failure: str = "continue"


@dataclass(frozen=True)
class Stopped:
    """A handler raised on a message with `on_failure` "stop": its stream waits before it."""

    stream: str
    offset: int
    error: Exception


@dataclass(frozen=True)
class Latest:
    stream: str
    name: str
    key: str
    version: int
    coalesced: int
    time: str
    service: str | None
    data: Any


@dataclass(frozen=True)
class Transient:
    stream: str
    name: str
    time: str
    service: str | None
    data: Any


@dataclass(frozen=True)
class Gap:
    """Offsets that cannot be delivered any more, and why: expired, overflow, purged, shed, reset."""

    stream: str
    first: int
    last: int
    reason: str


#: Seconds between two frames, which the server bounds to 100 a second; bytes of results in one.
SPACING, LARGE = 0.02, 128 * 1024
LARGEST_VALUE = 64 * 1024
#: The server refuses U+0000 and lone surrogates.
_unsendable = re.compile("[\x00\ud800-\udfff]")
#: Bytes of a hello beside its token: it may have 4 KiB.
HELLO_ROOM = 4096 - 512

Handler = Callable[[Any], Awaitable[Any]]


async def _nothing(_: Any) -> None:
    return None


class Device:
    """`device = Device(url, token, {"turn": on_turn})`, then `await device.run()`.

    handlers: by message type, for messages, `latest` values and transient ones alike; what one returns goes to the
    service as the result's value, what it raises as a `failed` result (`latest` and transient ones have no results: it
    is logged). A message without a handler counts as processed.
    on_stopped: the app failed on a message whose type says `stop`; its stream waits until the next connection, the next
    `set_state("foreground")` or `retry`. Without it, that is logged as an error.
    token: the device token, or an async function that gets a fresh one from your back end.
    """

    def __init__(
        self,
        url: str,
        token: str | Callable[[], Awaitable[str]],
        handlers: dict[str, Handler],
        *,
        on_gap: Callable[[Gap], Awaitable[None]] = _nothing,
        on_stopped: Callable[[Stopped], Awaitable[None]] | None = None,
        store: Store | None = None,
        state: str = "foreground",
    ) -> None:
        self._url = url.rstrip("/").replace("http", "ws", 1) + "/ws/device"
        self._token = token
        self._handlers = handlers
        self._on_gap = on_gap
        self._on_stopped = on_stopped
        self._store = store or MemoryStore()
        self._places = self._store.load()
        self._state, self._state_seq = state, 0
        self._connection: Connection | None = None
        self._closed = False
        #: What is to be told: of which streams results, of which the version of `latest` values. `told`: by results.
        self._news = asyncio.Event()
        self._dirty: set[str] = set()
        self._versions: dict[str, int] = {}
        self._told: dict[str, int] = {}
        #: Failures at which streams wait, and what is to be acknowledged of these.
        self._stops: dict[str, Frame] = {}
        self._acks: dict[str, int] = {}
        #: Set while the server has said welcome.
        self.connected = asyncio.Event()

    # --- the app's side ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `close`. Comes back with back-off; raises MeanwhileError when the server refuses for good."""
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
        if state == "foreground" and self._stops:
            await self._come_back()

    @property
    def stopped(self) -> dict[str, int]:
        """The offset a stream waits at, by stream."""
        return {stream: failure["offset"] for stream, failure in self._stops.items()}

    async def retry(self, stream: str) -> None:
        """What the stream waits at is handed over again: by a new connection, whose replay begins there."""
        if stream in self._stops:
            await self._come_back()

    async def _come_back(self) -> None:
        if self._connection:
            await self._connection.close()

    def done(self, stream: str) -> int:
        """The last offset that was handed over."""
        place = self._places.get(stream)
        return place.done if place else 0

    async def close(self) -> None:
        self._closed = True
        if self._connection:
            await self._connection.close()

    # --- a connection ------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        token = self._token if isinstance(self._token, str) else await self._token()
        self._state_seq += 1
        hello = {
            "token": token,
            "state": self._state,
            "state_seq": self._state_seq,
            "resume": "replay",
            "positions": self._positions(HELLO_ROOM - len(token)),
        }
        connection, welcome = await Connection.open(self._url, hello)
        self._connection = connection
        self._dirty.clear()
        self._versions.clear()
        self._acks.clear()
        self._stops.clear()
        self._begin(welcome["streams"])
        tasks = [
            asyncio.create_task(self._beat(connection, welcome["ping_interval_ms"] / 1000)),
            asyncio.create_task(self._report(connection)),
        ]
        try:
            self.connected.set()
            while True:
                await self._take(await connection.next())
        finally:
            self.connected.clear()
            self._connection = None
            for task in tasks:
                task.cancel()
            await connection.close()

    def _positions(self, room: int) -> Frame:
        """As many as fit into a hello. The others' replay begins at the server's cursor; doubles are dropped."""
        positions: Frame = {}
        for stream, place in self._places.items():
            position = {"epoch": place.epoch, "processed": place.done}
            room -= len(json.dumps({stream: position}))
            if room >= 0:
                positions[stream] = position
        return positions

    def _begin(self, entries: list[Frame]) -> None:
        """Where the server stands; what it does not know of is reported again."""
        for entry in entries:
            stream = entry["stream"]
            self._told[stream] = entry["processed"]
            place = self._places.get(stream)
            if place is None or place.epoch != entry["epoch"] or not entry["processed"] <= place.done <= entry["head"]:
                self._places[stream] = Place(entry["epoch"], entry["processed"])
            elif place.done > entry["processed"]:
                self._to_tell(stream)

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

    async def _take(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "message":
            await self._message(Message(**_known(Message, frame)))
        elif kind == "messages":
            for item in frame["items"]:
                await self._message(Message(**_known(Message, item)))
        elif kind == "gap":
            await self._gap(Gap(frame["stream"], frame["from"], frame["to"], frame["reason"]))
        elif kind == "latest":
            await self._pass_on(Latest(**_known(Latest, frame)))
            self._versions[frame["stream"]] = frame["version"]
            self._news.set()
        elif kind == "transient":
            await self._pass_on(Transient(**_known(Transient, frame)))
        elif kind == "joined":
            self._begin([frame])
        elif kind == "left":
            self._places.pop(frame["stream"], None)
        elif kind == "results_saved":
            await self._saved(frame["stream"], frame["processed"], frame.get("stopped"))

    # --- messages ----------------------------------------------------------------------------------------------------

    async def _message(self, message: Message) -> None:
        """Hands one over, unless it was."""
        place = self._places[message.stream]
        if message.stream in self._stops:
            self._pass(message)
            return
        if message.offset <= place.done:
            return
        if message.offset > place.done + 1:
            raise ConnectionLost({"detail": f"{message.stream} has an unexplained hole: the replay begins again."})
        try:
            value = await self._call(message)
        except Exception as error:
            detail = _unsendable.sub("\ufffd", str(error))[:1024]
            failure = {"offset": message.offset, "code": type(error).__name__[:128], "detail": detail}
            if message.on_failure == "stop":
                self._pass(message)
                await self._stop(message.stream, failure, error)
                return
            place.exceptions.append(failure)
        else:
            if value is not None:
                self._keep(place, message, value)
        place.done = message.offset
        self._store.save(self._places)
        self._to_tell(message.stream)

    def _pass(self, message: Message) -> None:
        """Acknowledged, for the window is the other streams', too; and dropped: it comes again with the next replay."""
        self._acks[message.stream] = max(self._acks.get(message.stream, 0), message.offset)
        self._news.set()

    async def _stop(self, stream: str, failure: Frame, error: Exception) -> None:
        self._stops[stream] = failure
        self._to_tell(stream)
        if self._on_stopped:
            await self._on_stopped(Stopped(stream, failure["offset"], error))
        else:
            log.error("%s waits at %d, on which its handler failed: %s", stream, failure["offset"], error)

    def _keep(self, place: Place, message: Message, value: Any) -> None:
        """A value the server would refuse is left out: the message was handled all the same."""
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            if len(text.encode()) > LARGEST_VALUE:
                raise ValueError(f"above {LARGEST_VALUE} bytes")
            if "\\u0000" in text:
                raise ValueError("it holds U+0000")
        except (TypeError, ValueError, RecursionError) as error:
            log.warning("the value returned for %s %d is not reported: %s", message.stream, message.offset, error)
            return
        place.values.append({"offset": message.offset, "value": value})

    async def _pass_on(self, what: Latest | Transient) -> None:
        """Nobody is told what became of these: what a handler raises is for the app's log, and the device goes on."""
        try:
            await self._call(what)
        except Exception:
            log.exception("the handler of %s failed in %s", what.name, what.stream)

    async def _call(self, what: Message | Latest | Transient) -> Any:
        handler = self._handlers.get(what.name)
        return await handler(what) if handler else None

    async def _gap(self, gap: Gap) -> None:
        place = self._places[gap.stream]
        if gap.stream in self._stops and gap.reason != "reset":
            return  # it comes again, in its place
        await self._on_gap(gap)
        if gap.reason != "reset" and gap.last > place.done:
            place.done = gap.last
            self._store.save(self._places)
            self._to_tell(gap.stream)

    # --- results -----------------------------------------------------------------------------------------------------

    def _to_tell(self, stream: str) -> None:
        self._dirty.add(stream)
        self._news.set()

    async def _report(self, connection: Connection) -> None:
        """Tells what has been handled since it last told; many messages in one frame, and not too many frames."""
        with contextlib.suppress(MeanwhileError):
            while await self._news.wait():
                self._news.clear()
                for stream, version in _emptied(self._versions):
                    await connection.send("ack_latest", stream=stream, version=version)
                    await asyncio.sleep(SPACING)
                for stream, upto in _emptied(self._acks):
                    if place := self._places.get(stream):
                        await connection.send("ack", stream=stream, upto=upto, epoch=place.epoch)
                        await asyncio.sleep(SPACING)
                for stream in sorted(self._dirty):
                    self._dirty.discard(stream)
                    for results in self._results(stream):
                        await connection.send("results", stream=stream, **results)
                        await asyncio.sleep(SPACING)

    def _results(self, stream: str) -> Iterator[Frame]:
        """Everything up to `done` that was not told on this connection: cumulative, cut where it would be too large.

        Failures are told until they are confirmed: the server may wait at one, and what follows must not cover it up.
        """
        place = self._places.get(stream)
        if place is None:
            return
        told, self._told[stream] = self._told.get(stream, 0), place.done
        specials = [("exceptions", one) for one in place.exceptions] + [("values", one) for one in place.values]
        part: Frame = {"exceptions": [], "values": []}
        size = 0
        for kind, one in sorted(specials, key=lambda special: special[1]["offset"]):
            if one["offset"] <= told and kind == "values":
                continue
            weight = len(json.dumps(one))
            if size and size + weight > LARGE:
                last = max(said["offset"] for said in [*part["exceptions"], *part["values"]])
                yield {"upto": last, "epoch": place.epoch, **part}
                part, size = {"exceptions": [], "values": []}, 0
            part[kind].append(one)
            size += weight
        upto = place.done
        failure = self._stops.get(stream)
        if failure and failure["offset"] == upto + 1:
            upto = failure["offset"]
            part["exceptions"].append(failure)
        yield {"upto": upto, "epoch": place.epoch, **part}

    async def _saved(self, stream: str, processed: int, stopped: int | None) -> None:
        place = self._places.get(stream)
        if place is None:
            return
        failure = self._stops.get(stream)
        if failure and processed >= failure["offset"]:
            place.done = max(place.done, processed)
            self._store.save(self._places)
            raise ConnectionLost({"detail": f"The server went on beyond {failure['offset']} of {stream}: so do we."})
        if stopped is not None and stopped <= place.done:
            await self._set_back(stream, place, stopped)
        elif place.exceptions or place.values:
            self._confirm(place, processed)

    async def _set_back(self, stream: str, place: Place, offset: int) -> None:
        """The server waits at a failure that was none to stop at when its message came."""
        failure = next((one for one in place.exceptions if one["offset"] == offset), {"offset": offset})
        place.done, place.exceptions, place.values = offset - 1, [], []
        self._store.save(self._places)
        self._told[stream] = place.done
        detail = f"The server does not go beyond the failure at {offset}."
        await self._stop(stream, failure, MeanwhileError({"code": "stopped", "detail": detail}))

    def _confirm(self, place: Place, processed: int) -> None:
        place.exceptions = [one for one in place.exceptions if one["offset"] > processed]
        place.values = [one for one in place.values if one["offset"] > processed]
        self._store.save(self._places)


def _emptied(versions: dict[str, int]) -> list[tuple[str, int]]:
    found = list(versions.items())
    versions.clear()
    return found


def _known(kind: type[Any], frame: Frame) -> dict[str, Any]:
    """The members that are known: a newer server may say more."""
    return {name: frame[name] for name in kind.__dataclass_fields__ if name in frame}
