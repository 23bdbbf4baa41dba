"""An app on the real network: it comes back whenever the connection, the server or the app itself was lost.

It is killed at the worst places: after the receipt and before the handler, in the handler, before the result.
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

from messaging.protocol.merge_effects import Pull
from tests.faults.app import App, AppKilled, Frame
from tests.faults.chronicle import Chronicle
from tests.servers import PLAIN

PAGE = 7
#: How often, per frame, the app is killed at each place, goes to the background, posts its results.
KILLED, AWAY, POSTED = 0.008, 0.03, 0.2
BROKEN = (OSError, WebSocketException, TimeoutError)


class Phone:
    def __init__(
        self, *, base: str, name: str, token: str, mode: str, chronicle: Chronicle, up: asyncio.Event, seed: int
    ) -> None:
        """up: set while the server listens."""
        self.app = App(name=name, mode=mode, note=chronicle.add)
        self.base = base
        self.token = token
        self.up = up
        self.calm = False
        self.kills = 0
        self._chronicle = chronicle
        self._random = random.Random(seed)

    @property
    def name(self) -> str:
        return self.app.name

    async def live(self) -> None:
        """Until cancelled."""
        while True:
            await self.up.wait()
            try:
                async with connect(
                    self.base.replace("http", "ws", 1) + "/ws/device",
                    subprotocols=["meanwhile.v1.json"],  # type: ignore[list-item]
                    compression=None,
                    open_timeout=10,
                    close_timeout=0.2,
                ) as socket:
                    await _Connection(self, socket).serve()
            except AppKilled:
                self.kills += 1
                self.app.revive()
            except BROKEN:
                pass
            self.app.lost()

    def chance(self, often: float) -> bool:
        return not self.calm and self._random.random() < often

    def may_be_killed(self) -> None:
        if self.chance(KILLED):
            self.app.kill()
            raise AppKilled

    async def wait_away(self) -> None:
        """In the background until enough has happened meanwhile."""
        await self._chronicle.grown(self._random.randrange(5, 60), 0.5)

    def client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.AsyncClient(verify=PLAIN, base_url=self.base, headers=headers, timeout=10)


class _Connection:
    """One connection of a phone: everything in it ends with it."""

    def __init__(self, phone: Phone, socket: ClientConnection) -> None:
        self._phone = phone
        self._app = phone.app
        self._socket = socket
        self._tasks: set[asyncio.Task[None]] = set()
        self._pulls: dict[str, tuple[Pull, asyncio.Task[None]]] = {}
        self._away: asyncio.Task[None] | None = None
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._working = asyncio.Lock()

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

    async def _read(self) -> None:
        app, phone = self._app, self._phone
        app.connect(phone.token)
        await self._work()
        async for text in self._socket:
            frame = json.loads(text)
            assert frame["type"] != "bye" or frame["reconnect"], frame
            app.take(frame)
            await self._work()
            if app.welcomed and app.state == "foreground" and app.notice is None and phone.chance(AWAY):
                app.go("background")
                await self._work()

    async def _work(self) -> None:
        """Acknowledges what was taken in, lets the handlers at it, reports. The app may be killed between any two."""
        app, phone = self._app, self._phone
        async with self._working:
            app.acknowledge()
            await self._flush()
            phone.may_be_killed()
            while app.queue:
                app.handle(killed=phone.chance(KILLED))
                if not app.alive:
                    raise AppKilled
            phone.may_be_killed()
            for results in app.reports() if app.welcomed else []:
                if phone.chance(POSTED):
                    self._run(partial(self._post, app.posting(results), results))
                else:
                    app.report(results)
            await self._flush()
        self._follow_pulls()
        if app.state == "background" and app.notice is None and self._away is None:
            self._away = self._run(self._come_back)

    async def _flush(self) -> None:
        while self._app.out:
            await self._socket.send(json.dumps(self._app.out.pop(0)))

    async def _come_back(self) -> None:
        await self._phone.wait_away()
        self._app.go("foreground")
        self._away = None
        await self._work()

    async def _post(self, id: int, results: Frame) -> None:
        try:
            answer = await self._http.post("/api/v1/results", json=results)
        except httpx.HTTPError:
            return
        finally:
            asking = self._app.posted(id)
        if answer.status_code == 200:
            self._app.saved(asking, answer.json())
        else:
            assert answer.json()["temporary"], answer.text
        await self._work()

    # --- pulls -------------------------------------------------------------------------------------------------------

    def _follow_pulls(self) -> None:
        """Starts what is wanted and stops what is not wanted any more."""
        for stream, (pull, task) in list(self._pulls.items()):
            if self._app.pulls.get(stream) is not pull:
                del self._pulls[stream]
                if task is not asyncio.current_task():
                    task.cancel()
        for stream, pull in self._app.pulls.items():
            if stream not in self._pulls:
                self._pulls[stream] = (pull, self._run(partial(self._pull, stream, pull)))

    async def _pull(self, stream: str, pull: Pull) -> None:
        query = self._app.query(stream, pull)
        while query:
            page = await self._page(query)
            if page.status_code == 410:
                query = {}
                self._app.gone(stream, pull, page.json())
            elif page.status_code == 200:
                query = self._app.page(stream, pull, page.json())
            else:
                assert page.json()["temporary"], page.text
            await self._work()

    async def _page(self, query: dict[str, Any]) -> httpx.Response:
        while True:
            try:
                return await self._http.get("/api/v1/pending", params={**query, "limit": PAGE})
            except httpx.HTTPError:
                await self._phone.up.wait()
