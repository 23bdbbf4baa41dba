"""A service with a good connection: publishes steadily while the device's network is in trouble."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from typing import Any

import httpx
from websockets.asyncio.client import connect

from tests.faults.history import Asked, Confirmed, FeedRead, Heard, Stands, Valued
from tests.network.record import Record
from tests.servers import PLAIN

NAME = "backend"
#: Seconds between two publishes.
PAUSE = (0.01, 0.06)
KEYS = ("berlin", "oslo")
Draft = dict[str, Any]


class BackEnd:
    """Of one app with one device; `over` ends the publishing."""

    def __init__(self, *, base: str, key: str, streams: list[str], record: Record, seed: int) -> None:
        self.over = False
        self._base = base
        self._streams = streams
        self._record = record
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        self._key = key

    async def publish(self) -> None:
        """Until it is over. Each publish waits for its answer."""
        url = self._base.replace("http", "ws", 1) + "/ws/service"
        async with connect(url, compression=None) as socket:
            await socket.send(json.dumps({"type": "hello", "key": self._key}))
            await socket.recv()
            while not self.over:
                drafts = [self._draft() for _ in range(self._random.randrange(1, 5))]
                await socket.send(json.dumps({"type": "publish", "id": 1, "messages": drafts}))
                answer = json.loads(await socket.recv())
                assert answer["type"] == "published", answer
                for draft, item in zip(drafts, answer["items"], strict=True):
                    self._confirm(draft, item)
                await asyncio.sleep(self._random.uniform(*PAUSE))

    def _draft(self) -> Draft:
        stream = self._random.choice(self._streams)
        kind = self._random.random()
        if kind < 0.15:
            return {"to": stream, "name": "weather", "key": self._random.choice(KEYS), "data": "sun"}
        if kind < 0.25:
            return {"to": stream, "name": "chat", "data": "hi"}
        text = f"m{next(self._numbers)}"
        self._record.add(Asked(NAME, stream, text))
        return {"to": stream, "name": "turn", "data": text}

    def _confirm(self, draft: Draft, item: Draft) -> None:
        assert "problem" not in item, item
        if draft["name"] == "turn":
            self._record.add(Confirmed(draft["to"], draft["data"], item["offset"]))
        elif draft["name"] == "weather":
            self._record.add(Valued(draft["to"], draft["key"], item["version"]))

    # --- what the server says in the end -----------------------------------------------------------------------------

    async def look(self, device: str, token: str) -> list[Stands]:
        """Where the server sees the device."""
        async with httpx.AsyncClient(verify=PLAIN, base_url=self._base, timeout=10) as http:
            answer = await http.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200, answer.text
        return [
            Stands(device, entry["stream"], entry["processed"], entry["received"], entry["head"])
            for entry in answer.json()["streams"]
        ]

    async def read_feed(self) -> None:
        """All results the server has for this service."""
        after = 0
        headers = {"Authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(verify=PLAIN, base_url=self._base, headers=headers, timeout=10) as http:
            while True:
                answer = await http.get("/api/v1/results", params={"after": after, "limit": 500})
                items = answer.json()["items"]
                for one in items:
                    heard = Heard(NAME, one["device"], one["stream"], one["from"], one["upto"], one["status"])
                    self._record.add(heard)
                if not items:
                    break
                after = items[-1]["position"]
        self._record.add(FeedRead(NAME))
