"""The server is told to go (SIGTERM): everybody hears it, and when to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.consumers.actors import Phone, Service
from tests.consumers.conftest import ENVIRONMENT, House
from tests.servers import Server


@pytest.fixture(params=["uvicorn", "daphne"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """One process of its own, which a test may end."""
    server = Server(tmp_path, kind=request.param, environment=ENVIRONMENT)
    key = server.prepare()
    yield House([server.start()], key)
    server.dispose()


async def test_all_are_sent_away_with_returns_that_are_spread(house: House) -> None:
    phones = [await house.phone() for _ in range(5)]
    sockets = [(await phone.connect())[0] for phone in phones]
    service = await Service(house.base, house.key).connect()

    await asyncio.to_thread(house.servers[0].stop)
    byes = [(await socket.until("bye"))[-1] for socket in [*sockets, service.socket]]
    codes = [await socket.closed() for socket in [*sockets, service.socket]]

    assert {(bye["code"], bye["reconnect"]) for bye in byes} == {("restart", True)}
    assert len({bye["retry_after_ms"] for bye in byes}) > 1
    assert codes == [4001] * 6
    assert "Traceback" not in house.servers[0].log()
    for phone in phones:
        await phone.close()
    await service.close()


async def test_what_was_published_before_is_there_after_it(phone: Phone, house: House) -> None:
    await phone.connect()
    service = await Service(house.base, house.key).connect()
    await service.publish(phone.stream, "turn", "before")

    await asyncio.to_thread(house.servers[0].stop)
    house.servers[0].start()
    _, welcome = await phone.connect()

    assert [one["data"] for one in (await phone.pending(stream=phone.stream))["messages"]] == ["before"]
    assert {one["stream"]: one["head"] for one in welcome["streams"]}[phone.stream] == 1
    await service.close()
