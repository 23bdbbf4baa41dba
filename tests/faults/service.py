"""A back end that publishes all the time: what it does not know to be stored, it says again under the same id."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Callable
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.faults.chronicle import Chronicle
from tests.faults.history import Asked, Confirmed, Valued
from tests.faults.phone import BROKEN
from tests.servers import PLAIN

Draft = dict[str, Any]


class Service:
    def __init__(
        self, *, base: str, key: str, streams: list[str], chronicle: Chronicle, up: asyncio.Event, seed: int
    ) -> None:
        self.streams = streams
        self.calm = False
        #: Message → offset, by stream: what is confirmed.
        self.heads: dict[str, int] = dict.fromkeys(streams, 0)
        self._base = base
        self._key = key
        self._chronicle = chronicle
        self._up = up
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        self._unsure: list[Draft] = []

    async def work(self, enough: Callable[[], bool]) -> None:
        """Publishes until `calm`, and then until it is sure of everything. enough: whether to wait for the devices."""
        while not self.calm or self._repeated():
            await self._up.wait()
            try:
                if self._random.random() < 0.8:
                    await self._by_socket(enough)
                else:
                    await self._by_http(enough)
            except (*BROKEN, httpx.HTTPError):
                continue

    async def _by_socket(self, enough: Callable[[], bool]) -> None:
        url = self._base.replace("http", "ws", 1) + "/ws/service"
        async with connect(url, compression=None, open_timeout=10, close_timeout=0.2) as socket:
            await socket.send(json.dumps({"type": "hello", "key": self._key}))
            await socket.recv()
            for _ in range(self._random.randrange(5, 50)):
                if self.calm and not self._repeated():
                    return
                await self._chronicle.until(lambda: self.calm or not enough(), 5)
                await self._publish(socket)

    async def _publish(self, socket: ClientConnection) -> None:
        drafts = self._drafts()
        await socket.send(json.dumps({"type": "publish", "id": 1, "messages": drafts}))
        answer = json.loads(await asyncio.wait_for(socket.recv(), 10))
        if answer["type"] == "error":
            assert answer["temporary"], (answer, len(drafts))
        else:
            self._confirm(drafts, answer["items"])

    async def _by_http(self, enough: Callable[[], bool]) -> None:
        await self._chronicle.until(lambda: self.calm or not enough(), 5)
        headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": f"batch-{next(self._numbers)}"}
        drafts = self._drafts()
        async with httpx.AsyncClient(verify=PLAIN, base_url=self._base, headers=headers, timeout=10) as http:
            for _ in range(3):  # again with the same key
                try:
                    answer = await http.post("/api/v1/messages", json={"messages": drafts})
                except httpx.HTTPError:
                    await self._up.wait()
                    continue
                if answer.status_code == 200:
                    self._confirm(drafts, answer.json()["items"])
                    return
                assert answer.json()["temporary"], answer.text

    def _drafts(self) -> list[Draft]:
        """What is not known to be stored, and something new. An id is known as long as its message is stored: what has
        a short life is not said again, it might come to stand in two places."""
        self._unsure = self._repeated()
        fresh = [] if self._unsure and (self.calm or len(self._unsure) > 200) else self._fresh()
        self._unsure += [draft for draft in fresh if "id" in draft]
        return [*self._unsure, *(draft for draft in fresh if "id" not in draft)]

    def _repeated(self) -> list[Draft]:
        return [draft for draft in self._unsure if "ttl" not in draft]

    def _fresh(self) -> list[Draft]:
        return [self._draft() for _ in range(self._random.randrange(1, 8))]

    def _draft(self) -> Draft:
        stream = self._random.choice(self.streams)
        kind = self._random.random()
        if kind < 0.1:
            return {"to": stream, "name": "weather", "key": self._random.choice(["berlin", "oslo"]), "data": "sun"}
        if kind < 0.15:
            return {"to": stream, "name": "chat", "data": "hi"}
        text = f"m{next(self._numbers)}"
        mortal = self._random.random() < 0.1
        self._chronicle.add(Asked("demo", stream, text, mortal))
        return {"to": stream, "name": "turn", "data": text, "id": text, **({"ttl": 1} if mortal else {})}

    def _confirm(self, drafts: list[Draft], items: list[Any]) -> None:
        for draft, item in zip(drafts, items, strict=True):
            assert "problem" not in item, item
            stream = draft["to"]
            if draft in self._unsure:
                self._unsure.remove(draft)
                self.heads[stream] = max(self.heads[stream], item["offset"])
                self._chronicle.add(Confirmed(stream, draft["data"], item["offset"]))
            elif "version" in item:
                self._chronicle.add(Valued(stream, draft["key"], item["version"]))
