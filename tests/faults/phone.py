"""A phone as the SDK would drive it, on the same merge: it stores, acknowledges, handles, reports, in this order.

Its app is killed at the worst places: after the receipt and before the handler, in the handler, before the result.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from messaging.protocol.merge import Merge
from messaging.protocol.merge_effects import Adopt, Effect, Gap, Hand, Pull
from tests.faults.chronicle import Chronicle
from tests.faults.history import (
    Adopted,
    Agreed,
    Came,
    Event,
    Handed,
    Killed,
    Passed,
    Reported,
    Returned,
    Saved,
    Shown,
    Stands,
    Told,
    Wants,
)
from tests.faults.store import Place, Store

Frame = dict[str, Any]
PAGE = 7
#: How often, per frame, the app is killed at each place, and how often it goes to the background.
KILLED, AWAY = 0.008, 0.03
BROKEN = (OSError, WebSocketException, TimeoutError)


class AppKilled(Exception):
    pass


class Phone:
    def __init__(
        self, *, base: str, name: str, token: str, mode: str, chronicle: Chronicle, up: asyncio.Event, seed: int
    ) -> None:
        """up: set while the server listens."""
        self.name = name
        self.mode = mode
        self.store = Store()
        self.calm = False
        self.kills = 0
        self._base = base
        self._token = token
        self._chronicle = chronicle
        self._up = up
        self._random = random.Random(seed)
        self._dying = False
        self._merges: dict[str, Merge] = {}
        #: What the merges handed over and no handler has begun with: outlives the connection, not the app.
        self.queue: list[tuple[str, Effect]] = []

    async def live(self) -> None:
        """Comes back whenever the connection, the server or the app itself was lost; until cancelled."""
        while True:
            await self._up.wait()
            try:
                async with connect(
                    self._base.replace("http", "ws", 1) + "/ws/device",
                    subprotocols=["meanwhile.v1.json"],  # type: ignore[list-item]
                    compression=None,
                    open_timeout=10,
                    close_timeout=0.2,
                ) as socket:
                    await _Connection(self, socket).serve()
            except AppKilled:
                self.kills += 1
                self._chronicle.add(Killed(self.name))
                self._merges, self.queue, self._dying = {}, [], False
            except BROKEN:
                pass
            for merge in self._merges.values():
                merge.away()

    def merge(self, stream: str) -> Merge:
        if stream not in self._merges:
            place = self.store.places.get(stream)
            stored: dict[str, Any] = {} if place is None else {"epoch": place.epoch, "done": place.done}
            self._merges[stream] = Merge(**stored)
        return self._merges[stream]

    @property
    def merges(self) -> dict[str, Merge]:
        return self._merges

    def say(self, *events: Event) -> None:
        if self._dying:
            raise AppKilled  # another task of it was killed: this one does nothing more
        self._chronicle.add(*events)

    def chance(self, often: float) -> bool:
        return not self.calm and self._random.random() < often

    def may_be_killed(self) -> None:
        if self.chance(KILLED):
            self._dying = True
            raise AppKilled

    async def wait_away(self) -> None:
        """In the background until enough has happened meanwhile."""
        await self._chronicle.grown(self._random.randrange(5, 60), 0.5)

    def client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._token}"}
        return httpx.AsyncClient(base_url=self._base, headers=headers, timeout=10)

    @property
    def token(self) -> str:
        return self._token

    @property
    def up(self) -> asyncio.Event:
        return self._up


class _Connection:
    """One connection of a phone: everything in it ends with it."""

    def __init__(self, phone: Phone, socket: ClientConnection) -> None:
        self._phone = phone
        self._socket = socket
        self._store = phone.store
        self._last_id = 0
        self._state = "foreground"
        self._asked: dict[int, str] = {}
        self._notice: tuple[int, str] | None = None
        self._acked: dict[str, int] = {}
        self._versions: dict[tuple[str, str], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pulls: dict[str, asyncio.Task[None]] = {}
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._working = asyncio.Lock()

    # --- connection --------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        reading = asyncio.create_task(self._read())
        try:
            async with self._phone.client() as self._http:
                await asyncio.wait({reading, self._failure}, return_when=asyncio.FIRST_COMPLETED)
                for over in (reading, self._failure):
                    if over.done():
                        over.result()
        finally:
            for task in [reading, *self._tasks]:
                task.cancel()
            await asyncio.gather(reading, *self._tasks, return_exceptions=True)
            if self._failure.done():
                self._failure.exception()

    async def _read(self) -> None:
        phone = self._phone
        self._store.state_seq += 1
        phone.say(Wants(phone.name, "foreground"))
        positions = {
            stream: {"epoch": place.epoch, "processed": place.done} for stream, place in self._store.places.items()
        }
        await self._send(
            "hello",
            token=phone.token,
            state_seq=self._store.state_seq,
            resume=phone.mode,
            positions=positions,
        )
        async for text in self._socket:
            await self._take(json.loads(text))

    async def _send(self, type: str, **members: Any) -> int:
        self._last_id += 1
        await self._socket.send(json.dumps({"type": type, "id": self._last_id, **members}))
        return self._last_id

    def _run(self, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """A task of this connection: what it raises ends the connection, or the app."""

        async def guarded() -> None:
            try:
                await work()
            except Exception as error:
                if not self._failure.done():
                    self._failure.set_exception(error)

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- frames ------------------------------------------------------------------------------------------------------

    async def _take(self, frame: Frame) -> None:
        handle = getattr(self, f"_on_{frame['type']}", None)
        assert handle, frame
        await handle(frame)
        await self._work()
        if self._state == "foreground" and self._notice is None and self._phone.chance(AWAY):
            await self._go("background")

    async def _on_welcome(self, frame: Frame) -> None:
        phone = self._phone
        phone.say(Came(phone.name, frame["generation"]), Agreed(phone.name, frame["state"]))
        for entry in frame["streams"]:
            stands = Stands(phone.name, entry["stream"], entry["processed"], entry["received"], entry["head"])
            phone.say(stands)
            self._begin(entry)

    def _begin(self, entry: Frame) -> None:
        stream = entry["stream"]
        if stream in self._store.places:
            self._store.places[stream].confirmed(entry["processed"])
        self._acked[stream] = entry["received"]
        merge = self._phone.merge(stream)
        self._apply(
            stream,
            merge.begin(
                epoch=entry["epoch"],
                processed=entry["processed"],
                cut=entry["cut"],
                head=entry["head"],
                mode=self._phone.mode,  # type: ignore[arg-type]
            ),
        )

    async def _on_message(self, frame: Frame) -> None:
        self._apply(frame["stream"], self._phone.merge(frame["stream"]).message(frame))

    async def _on_messages(self, frame: Frame) -> None:
        for item in frame["items"]:
            await self._on_message(item)

    async def _on_gap(self, frame: Frame) -> None:
        merge = self._phone.merge(frame["stream"])
        self._apply(frame["stream"], merge.gap(first=frame["from"], last=frame["to"], reason=frame["reason"]))

    async def _on_caught_up(self, frame: Frame) -> None:
        self._apply(frame["stream"], self._phone.merge(frame["stream"]).caught_up(upto=frame["upto"]))

    async def _on_latest(self, frame: Frame) -> None:
        self._value(frame)
        await self._send("ack_latest", stream=frame["stream"], version=frame["version"])

    def _value(self, value: Frame) -> None:
        place = (value["stream"], value["key"])
        if self._state == "foreground" and value["version"] <= self._versions.get(place, 0):
            return  # a page and the socket may both bring it
        self._versions[place] = value["version"]
        self._phone.say(Shown(self._phone.name, *place, value["version"]))

    async def _on_transient(self, frame: Frame) -> None:
        self._phone.say(Passed(self._phone.name, frame["stream"]))

    async def _on_results_saved(self, frame: Frame) -> None:
        self._asked.pop(frame["re"], None)
        self._saved(frame["stream"], frame["processed"])

    async def _on_error(self, frame: Frame) -> None:
        assert frame["temporary"], frame
        self._asked.pop(frame.get("re", 0), None)

    async def _on_bye(self, frame: Frame) -> None:
        assert frame["reconnect"], frame

    # --- background and back -----------------------------------------------------------------------------------------

    async def _go(self, state: str) -> None:
        phone = self._phone
        self._store.state_seq += 1
        phone.say(Wants(phone.name, state))
        for merge in phone.merges.values():
            if state == "background":
                merge.away()
            else:
                merge.expect()
        if state == "background":
            self._stop_pulls()
        self._notice = (await self._send("notice", state=state, state_seq=self._store.state_seq), state)

    async def _on_notice_saved(self, frame: Frame) -> None:
        assert self._notice
        _, wanted = self._notice
        assert frame["state"] == wanted, frame
        self._notice = None
        self._state = wanted
        self._phone.say(Agreed(self._phone.name, wanted))
        if wanted == "background":
            self._run(self._come_back)
            return
        self._versions.clear()
        for entry in frame["streams"]:
            self._begin(entry)

    async def _come_back(self) -> None:
        await self._phone.wait_away()
        await self._go("foreground")

    # --- the merge ---------------------------------------------------------------------------------------------------

    def _apply(self, stream: str, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Pull):
                self._stop_pulls(stream)
                self._pulls[stream] = self._run(partial(self._pull, stream, effect))
            elif isinstance(effect, Adopt):
                self._adopt(stream, effect)
            elif isinstance(effect, Hand | Gap):
                self._phone.queue.append((stream, effect))

    def _adopt(self, stream: str, effect: Adopt) -> None:
        known = self._store.places.get(stream)
        self._store.places[stream] = Place(effect.epoch, effect.done, effect.done)
        if known is None:
            self._phone.say(Adopted(self._phone.name, stream, effect.done))
        self._phone.queue[:] = [(other, item) for other, item in self._phone.queue if other != stream]

    # --- the pull ----------------------------------------------------------------------------------------------------

    def _stop_pulls(self, *streams: str) -> None:
        for stream in streams or list(self._pulls):
            task = self._pulls.pop(stream, None)
            if task:
                task.cancel()

    async def _pull(self, stream: str, pull: Pull) -> None:
        asked = {"stream": stream, "after": pull.after, "until": pull.until, "epoch": pull.epoch}
        query: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        merge = self._phone.merge(stream)
        while query:
            page = await self._page(query)
            if page.status_code == 410:
                gone = page.json()
                self._apply(stream, merge.gone(pull=pull.pull, epoch=gone["epoch"], processed=gone["processed"]))
                query = {}
            elif page.status_code == 200:
                body = page.json()
                self._apply(stream, self._paged(stream, pull, body))
                for value in body["latest"]:
                    self._value(value)
                query = {"cursor": body["next"]} if body["next"] else {}
            else:
                assert page.json()["temporary"], page.text
            await self._work()

    async def _page(self, query: dict[str, Any]) -> httpx.Response:
        while True:
            try:
                return await self._http.get("/api/v1/pending", params={**query, "limit": PAGE})
            except httpx.HTTPError:
                await self._phone.up.wait()

    def _paged(self, stream: str, pull: Pull, body: Frame) -> list[Effect]:
        stands = body["streams"][stream]
        return self._phone.merge(stream).page(
            pull=pull.pull,
            epoch=stands["epoch"],
            processed=stands["processed"],
            cut=stands["cut"],
            messages=body["messages"],
            gaps=[Gap(one["from"], one["to"], one["reason"]) for one in body["gaps"]],
            complete=stands["complete"],
        )

    # --- the app -----------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Acknowledges what was taken in, lets the handlers at it, reports. The app may be killed between any two."""
        async with self._working:
            queue = self._phone.queue
            if self._state == "foreground":
                for stream in {stream for stream, _ in queue}:
                    await self._ack(stream)
            self._phone.may_be_killed()
            while queue:
                self._handle(*queue[0])
                queue.pop(0)
            self._phone.may_be_killed()
            for stream in self._store.places:
                await self._report(stream)

    async def _ack(self, stream: str) -> None:
        merge = self._phone.merge(stream)
        if merge.done > self._acked.get(stream, 0):
            self._acked[stream] = merge.done
            await self._send("ack", stream=stream, upto=merge.done, epoch=merge.epoch or "")

    def _handle(self, stream: str, item: Effect) -> None:
        phone, place = self._phone, self._store.places[stream]
        if isinstance(item, Gap):
            phone.say(Told(phone.name, stream, item.first, item.last, item.reason))
            place.done = item.last
        elif isinstance(item, Hand):
            text = item.message["data"]
            phone.say(Handed(phone.name, stream, item.offset, text))
            phone.may_be_killed()
            failed = text.endswith("7")
            if failed:
                place.failed.add(item.offset)
            place.done = item.offset
            phone.say(Returned(phone.name, stream, item.offset, failed))

    async def _report(self, stream: str) -> None:
        place = self._store.places[stream]
        if place.done <= place.processed or stream in self._asked.values():
            return
        body = {
            "stream": stream,
            "upto": place.done,
            "epoch": place.epoch or "",
            "exceptions": [
                {"offset": offset, "status": "failed", "code": "Seven"}
                for offset in sorted(place.failed)
                if offset <= place.done
            ],
        }
        self._phone.say(Reported(self._phone.name, stream, place.done))
        if self._phone.chance(0.2):
            self._last_id += 1
            self._asked[self._last_id] = stream
            self._run(partial(self._post, self._last_id, stream, body))
        else:
            self._asked[await self._send("results", **body)] = stream

    async def _post(self, id: int, stream: str, body: Frame) -> None:
        """Results may go over HTTP as well."""
        try:
            answer = await self._http.post("/api/v1/results", json=body)
        except httpx.HTTPError:
            return
        finally:
            self._asked.pop(id, None)
        if answer.status_code == 200:
            self._saved(stream, answer.json()["processed"])
        else:
            assert answer.json()["temporary"], answer.text
        await self._work()

    def _saved(self, stream: str, processed: int) -> None:
        self._phone.say(Saved(self._phone.name, stream, processed))
        self._store.places[stream].confirmed(processed)
