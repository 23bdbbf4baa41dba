"""SIGTERM ends a process in time, whatever its devices and Redis are doing."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator

import pytest

from tests.consumers.actors import Phone
from tests.consumers.conftest import House
from tests.engines.conftest import OpenHouse, wait_until_ready
from tests.engines.private import Redis
from tests.servers import Server

#: Seconds.
MOST = 8.0


@pytest.fixture(scope="module")
def house(open_house: OpenHouse) -> House:
    return open_house(processes=1)


@pytest.fixture
def server(house: House, redis: Redis) -> Iterator[Server]:
    """Its one process, where wake-ups work."""
    (server,) = house.servers
    if server.process is None:
        server.start()
    wait_until_ready(house)
    yield server
    redis.mend()


async def phones_of(house: House, count: int) -> list[Phone]:
    """Connected, each in streams of its own."""
    phones = [await house.phone() for _ in range(count)]
    for phone in phones:
        await phone.connect()
    return phones


async def ended(server: Server, phones: list[Phone]) -> float:
    """Asks the process to end. → the seconds it took."""
    process, begin = server.process, time.monotonic()
    assert process
    process.send_signal(signal.SIGTERM)
    try:
        await asyncio.to_thread(process.wait, 3 * MOST)
    finally:
        server.kill()
        for phone in phones:
            await phone.close()
    return time.monotonic() - begin


async def test_a_process_ends_while_its_devices_leave_their_groups(house: House, server: Server) -> None:
    phones = await phones_of(house, 20)

    assert await ended(server, phones) < MOST


async def test_a_process_ends_while_redis_stands_still(house: House, server: Server, redis: Redis) -> None:
    phones = await phones_of(house, 3)
    redis.pause()

    assert await ended(server, phones) < MOST


async def test_a_process_ends_when_redis_has_stood_still_for_long(house: House, server: Server, redis: Redis) -> None:
    phones = await phones_of(house, 3)
    redis.pause()
    wait_until_ready(house, "degraded")

    assert await ended(server, phones) < MOST
