"""PostgreSQL gone, or its connections cut: refusals that say so, never a false confirmation, ready again by itself."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Callable

import httpx
import pytest

from tests.consumers.actors import Phone
from tests.consumers.conftest import House
from tests.engines.conftest import OpenHouse, told, wait_until_ready
from tests.engines.private import Postgres
from tests.servers import PLAIN
from tests.waiting import until

TERMINATE = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname LIKE 'meanwhile_%'"


@pytest.fixture(scope="module")
def house(open_house: OpenHouse) -> House:
    return open_house()


@pytest.fixture
def whole_again(postgres: Postgres, house: House) -> object:
    """PostgreSQL is there again at the end, whatever a test did to it."""

    def mend() -> None:
        if postgres.process is None:
            postgres.start()
        wait_until_ready(house)

    yield mend
    mend()


class Publisher:
    """Publishes one number after the other, each with an id and tried until it is confirmed; notes what it heard."""

    def __init__(self, house: House, stream: str) -> None:
        self.stream = stream
        self.confirmed: list[int] = []
        self.refused: list[tuple[int, str]] = []
        self.slowest = 0.0
        headers = {"Authorization": f"Bearer {house.key}"}
        self._https = [
            httpx.AsyncClient(verify=PLAIN, base_url=s.base, headers=headers, timeout=40) for s in house.servers
        ]

    async def publish(self, number: int) -> bool:
        message = {"to": self.stream, "name": "turn", "data": number, "id": f"n{number}"}
        start = time.monotonic()
        answer = await self._https[number % 2].post("/api/v1/messages", json={"messages": [message]})
        self.slowest = max(self.slowest, time.monotonic() - start)
        item = answer.json().get("items", [{}])[0]
        if answer.status_code < 300 and "offset" in item:
            self.confirmed.append(number)
            return True
        problem = item.get("problem") or answer.json()
        assert problem["temporary"], problem
        self.refused.append((answer.status_code, problem["code"]))
        return False

    async def goes_on(self, count: int) -> None:
        """Until so many more are confirmed."""
        enough = len(self.confirmed) + count
        await asyncio.to_thread(until, lambda: len(self.confirmed) >= enough, "publishing goes on")

    async def hears_no(self) -> None:
        """Until one more is refused."""
        enough = len(self.refused) + 1
        await asyncio.to_thread(until, lambda: len(self.refused) >= enough, "a refusal is heard")

    async def run(self, enough: Callable[[], bool]) -> None:
        for number in itertools.count():
            while not await self.publish(number):
                pass
            if enough():
                break
        for http in self._https:
            await http.aclose()


async def numbers_of(phone: Phone) -> list[int]:
    page = await phone.pending(stream=phone.stream, limit=2000)
    found = list(page["messages"])
    while page["next"]:
        page = await phone.pending(cursor=page["next"])
        found += page["messages"]
    assert [one["offset"] for one in found] == list(range(1, len(found) + 1))
    return [one["data"] for one in found]


async def test_an_immediate_stop_loses_nothing_that_was_confirmed(
    postgres: Postgres, house: House, phone: Phone, whole_again: Callable[[], None]
) -> None:
    publisher = Publisher(house, phone.stream)
    socket, _ = await phone.connect()

    async def break_it() -> None:
        for _ in range(3):
            await publisher.goes_on(50)
            await asyncio.to_thread(postgres.stop, signal.SIGQUIT)
            await publisher.hears_no()
            statuses = [await asyncio.to_thread(told, server) for server in house.servers]
            assert [status for status, _ in statuses] == [503, 503]
            await asyncio.to_thread(postgres.start)
            start = time.monotonic()
            await asyncio.to_thread(wait_until_ready, house)
            assert time.monotonic() - start < 5

    breaking = asyncio.create_task(break_it())
    await publisher.run(breaking.done)
    await breaking

    assert {status for status, _ in publisher.refused} <= {200, 503}
    assert {code for _, code in publisher.refused} <= {"unavailable", "overloaded"}
    assert await numbers_of(phone) == publisher.confirmed == list(range(len(publisher.confirmed)))
    await socket.send("ping", id=1)
    assert (await socket.until("pong"))[-1]["re"] == 1


async def test_terminated_backends_lose_nothing_that_was_confirmed(
    postgres: Postgres, house: House, phone: Phone
) -> None:
    publisher = Publisher(house, phone.stream)

    async def break_it() -> None:
        for _ in range(10):
            await publisher.goes_on(20)
            await asyncio.to_thread(postgres.run, TERMINATE)

    breaking = asyncio.create_task(break_it())
    await publisher.run(breaking.done)
    await breaking

    assert await numbers_of(phone) == publisher.confirmed == list(range(len(publisher.confirmed)))
    wait_until_ready(house)


async def test_a_server_starts_without_postgres_and_serves_when_it_comes(
    postgres: Postgres, house: House, phone: Phone, whole_again: Callable[[], None]
) -> None:
    house.servers[0].stop()
    postgres.stop(signal.SIGQUIT)

    house.servers[0].start()
    alive = (await phone.http_at_first.get("/healthz")).status_code
    pull = await phone.http_at_first.get("/api/v1/pending")
    whole_again()

    assert (alive, pull.status_code) == (200, 503)
    assert (await phone.http_at_first.get("/api/v1/pending")).status_code == 200
