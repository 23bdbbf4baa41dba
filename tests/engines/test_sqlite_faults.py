"""Somebody else has locked the SQLite file: a backup tool, a shell left open."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.consumers.actors import Phone, Service
from tests.consumers.conftest import House
from tests.servers import PLAIN, Server

ENVIRONMENT = {"DATABASE_URL": "", "REDIS_URL": "", "MEANWHILE_REPAIR_INTERVAL": "0.2", "MEANWHILE_HTTP_THREADS": "4"}
#: Seconds: the Journal waits twice for a lock.
LONG = 30.0
pytestmark = pytest.mark.sqlite


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    server = Server(tmp_path, environment=ENVIRONMENT)
    key = server.prepare()
    yield House([server.start()], key)
    server.dispose()


@pytest.fixture
async def phone(house: House) -> AsyncIterator[Phone]:
    made = await house.phone()
    yield made
    await made.close()


@contextlib.contextmanager
def locked(house: House) -> Iterator[None]:
    """Somebody holds the write lock of the database file."""
    file = sqlite3.connect(house.servers[0].folder / "meanwhile.sqlite3", isolation_level=None)
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        file.close()


async def test_publishes_are_refused_for_the_moment_and_the_sockets_stay(house: House, phone: Phone) -> None:
    service = await Service(house.base, house.key).connect()
    socket, _ = await phone.connect()
    await service.publish(phone.stream, "turn", "before")
    await socket.messages(1)
    body = {"messages": [{"to": phone.stream, "name": "turn", "data": "refused"}]}
    headers = {"Authorization": f"Bearer {house.key}"}

    async with httpx.AsyncClient(verify=PLAIN, base_url=house.base, timeout=LONG, headers=headers) as http:
        with locked(house):
            publishing = [asyncio.create_task(http.post("/api/v1/messages", json=body)) for _ in range(4)]
            alive = await http.get("/healthz")
            ready = await http.get("/readyz")
            stuck = [task for task in publishing if not task.done()]
            answers = await asyncio.gather(*publishing)
    saved = await socket.ask("results", stream=phone.stream, upto=1)
    item = await service.publish(phone.stream, "turn", "after")

    assert (alive.status_code, ready.status_code, len(stuck)) == (200, 503, 4)
    assert {(one.status_code, one.json()["code"], one.json()["temporary"]) for one in answers} == {
        (503, "unavailable", True)
    }
    assert all(one.headers["Retry-After"] for one in answers)
    assert saved["processed"] == 1
    assert item["offset"] == 2
    await service.close()


async def test_a_registration_is_refused_for_the_moment_in_seconds(house: House) -> None:
    headers = {"Authorization": f"Bearer {house.key}"}

    # Below the 20 s that other writers wait, and above the 6 s of a request.
    async with httpx.AsyncClient(verify=PLAIN, base_url=house.base, timeout=14, headers=headers) as http:
        with locked(house):
            refused = await http.post("/api/v1/devices", json={"device": "phone-9"})
        made = await http.post("/api/v1/devices", json={"device": "phone-9"})

    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert made.status_code == 201
