"""Rates and numbers of connections over real sockets, counted over all processes of the installation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress

import pytest

from tests.consumers.actors import Service, Socket
from tests.consumers.conftest import ENVIRONMENT, House, opened
from tests.consumers.test_refusals import ends
from tests.servers import Server

NARROW = {"MEANWHILE_RATE_PUBLISH": "20", "MEANWHILE_RATE_BYTES": "4096", "MEANWHILE_APP_CONNECTIONS": "3"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """An installation with narrow limits."""
    with opened(Server(tmp_path_factory.mktemp("narrow"), environment={**ENVIRONMENT, **NARROW})) as made:
        yield made


async def let_in(server: Server, key: str) -> Service:
    """As soon as all processes know what the test before this one closed."""
    async with asyncio.timeout(10):
        while True:
            with suppress(AssertionError):
                return await Service(server.base, key).connect()


@pytest.fixture
async def services(house: House) -> AsyncIterator[list[Service]]:
    """The service at the first process and at the last."""
    async with AsyncExitStack() as stack:
        opened = []
        for server in (house.servers[0], house.servers[-1]):
            service = await let_in(server, house.key)
            stack.push_async_callback(service.close)
            opened.append(service)
        yield opened


async def test_publishes_beyond_the_rate_are_refused_and_say_when(services: list[Service]) -> None:
    answers = []
    for service in services * 2:
        drafts = [{"to": "room:a", "name": "turn", "data": 1}] * 10
        answers.append(await service.socket.ask("publish", messages=drafts))

    assert [answer["type"] for answer in answers[:2]] == ["published", "published"]
    refused = answers[-1]
    assert (refused["code"], refused["temporary"]) == ("rate_limited", True)
    assert 0 < refused["retry_after_ms"] <= 1000


async def test_an_app_has_so_many_sockets_over_all_processes(services: list[Service], house: House) -> None:
    third = await let_in(house.servers[0], house.key)

    fourth = await Socket.open(house.servers[-1].base, "/ws/service")
    await fourth.send("hello", key=house.key)

    await ends(fourth, 4029, "too_many_frames")
    await third.close()
