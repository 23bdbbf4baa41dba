"""A server that is killed and comes back, with phones and a service that keep at it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TypeVar

import httpx

from tests.faults.auditor import Violation, audit
from tests.faults.chronicle import Chronicle
from tests.faults.history import FeedRead, Heard, Joined, Settled
from tests.faults.phone import Phone
from tests.faults.service import Service
from tests.servers import PLAIN, Server, free_port

T = TypeVar("T")
MODES = ("pull", "replay", "hold")
#: Registered, in the room, and away until the end.
LATE = "phone-late"
#: Cleanup runs all the time; what everybody has is kept until a service can have said it again; holds end in time.
ENVIRONMENT = {
    "MEANWHILE_CLEANUP_INTERVAL": "0.3",
    "MEANWHILE_GRACE": "10",
    "MEANWHILE_HOLD_TIMEOUT": "2",
    "MEANWHILE_REPAIR_INTERVAL": "0.3",
    "LOG_LEVEL": "WARNING",
}
#: Messages that may be under way before the service waits for the phones.
MOST = 200
#: Seconds for what must happen.
DEADLINE = 30.0


class Installation:
    """One database; its server is killed again and again. Everything that happens is in `chronicle`."""

    def __init__(self, folder: Path, *, seed: int, kind: str = "uvicorn") -> None:
        self.chronicle = Chronicle()
        self.up = asyncio.Event()
        self.kills = 0
        self.phones: list[Phone] = []
        self.random = random.Random(seed)
        self._server = Server(folder, kind=kind, environment=dict(ENVIRONMENT), port=free_port())
        self._tasks: list[asyncio.Task[None]] = []

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Installation]:
        try:
            self._key = await asyncio.to_thread(self._server.prepare)
            await self.start()
            await self._people()
            yield self
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.to_thread(self._server.dispose)

    async def start(self, failpoint: str = "") -> None:
        self._server.environment["MEANWHILE_FAILPOINT"] = failpoint
        await asyncio.to_thread(self._server.start)
        self.up.set()

    def _client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._key}"}
        return httpx.AsyncClient(verify=PLAIN, base_url=self._server.base, headers=headers, timeout=DEADLINE)

    async def _people(self) -> None:
        names = {**{f"phone-{mode}": mode for mode in MODES}, LATE: self.random.choice(MODES)}
        streams = [*(f"device:{name}" for name in names), "user:ann", "room:lobby"]
        self.service = Service(
            base=self._server.base,
            key=self._key,
            streams=streams,
            chronicle=self.chronicle,
            up=self.up,
            seed=self.random.randrange(2**32),
        )
        async with self._client() as http:
            for name, mode in names.items():
                user = "" if name == LATE else "ann"
                answer = await http.post(
                    "/api/v1/devices", json={"device": name, "user": user, "streams": ["room:lobby"]}
                )
                assert answer.status_code == 201, answer.text
                self.chronicle.add(*(Joined(name, stream, 0) for stream in answer.json()["streams"]))
                self.phones.append(
                    Phone(
                        base=self._server.base,
                        name=name,
                        token=answer.json()["token"],
                        mode=mode,
                        chronicle=self.chronicle,
                        up=self.up,
                        seed=self.random.randrange(2**32),
                    )
                )
        self._publishing = asyncio.create_task(self.service.work(self._busy))
        self._tasks = [self._publishing, *(asyncio.create_task(phone.live()) for phone in self.phones[:-1])]

    def _busy(self) -> bool:
        return sum(self._behind(phone) for phone in self.phones[:-1]) > MOST

    def _behind(self, phone: Phone) -> int:
        """How much that is confirmed the phone has not handled and had confirmed."""
        heads = {stream: self.service.heads[stream] for stream in self._streams(phone)}
        places = phone.app.store.places
        return sum(head - (places[stream].processed if stream in places else 0) for stream, head in heads.items())

    @staticmethod
    def _streams(phone: Phone) -> list[str]:
        return [f"device:{phone.name}", "room:lobby", *(() if phone.name == LATE else ("user:ann",))]

    # --- killing -----------------------------------------------------------------------------------------------------

    async def killed_at(self, failpoint: str) -> None:
        """Lets the running server go and starts one that dies at a failpoint; waits until it has."""
        await self._kill()
        await self.start(failpoint)
        process = self._server.process
        assert process
        try:
            await self._alive(asyncio.to_thread(process.wait, DEADLINE))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{failpoint} was not reached in time") from None
        assert process.returncode == -9, f"{failpoint}: {process.returncode} {self._server.log()}"
        await self._kill()

    async def killed_within(self, events: int) -> None:
        """Starts the server and kills it when so many more events have happened."""
        if not self.up.is_set():
            await self.start()
        await self._alive(self.chronicle.grown(events, DEADLINE))
        await self._kill()

    async def _alive(self, work: Awaitable[T]) -> T:
        """Waits for something; if an actor finds fault with the server before, that is raised."""
        waited = asyncio.ensure_future(work)
        await asyncio.wait([waited, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done():
                task.result()
        return await waited

    async def _kill(self) -> None:
        self.up.clear()
        if self._server.process:
            self.kills += 1
            await asyncio.to_thread(self._server.kill)

    # --- the end -----------------------------------------------------------------------------------------------------

    async def verdict(self) -> list[Violation]:
        """Lets everybody finish in peace, reads the feed, and asks the auditor."""
        if not self.up.is_set():
            await self.start()
        self.service.calm = True
        for phone in self.phones:
            phone.calm = True
        self._tasks.append(asyncio.create_task(self.phones[-1].live()))
        self.chronicle.add()
        await self._alive(self._publishing)
        self._tasks.remove(self._publishing)
        await self._alive(self.chronicle.until(lambda: not any(map(self._behind, self.phones)), DEADLINE))
        await self._read_feed()
        self.chronicle.add(*(Settled(phone.name) for phone in self.phones), FeedRead("demo"))
        return audit(self.chronicle.events)

    async def _read_feed(self) -> None:
        after = 0
        async with self._client() as http:
            while True:
                answer = await http.get("/api/v1/results", params={"after": after, "limit": 500})
                items = answer.json()["items"]
                for one in items:
                    assert one["position"] == after + 1, (one, after)
                    after = one["position"]
                    heard = Heard("demo", one["device"], one["stream"], one["from"], one["upto"], one["status"])
                    self.chronicle.add(heard)
                if not items:
                    return
