"""Installations of several processes on a PostgreSQL and a Redis of the tests' own, which they may break."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.consumers.actors import Phone, Service
from tests.consumers.conftest import House
from tests.engines.private import Postgres, Redis, missing
from tests.servers import PLAIN, Server
from tests.waiting import until

#: So that within a test only wake-ups bring anything.
NEVER = "60"


def require_engines() -> None:
    if lacking := missing():
        told = f"PostgreSQL and Redis are {lacking}"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    require_engines()
    with closing(Postgres()) as one:
        yield one.start()


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    require_engines()
    with closing(Redis()) as one:
        yield one.start()


#: open(environment) → an installation of two processes.
OpenHouse = Callable[..., House]


@pytest.fixture(scope="module")
def open_house(postgres: Postgres, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenHouse]:
    opened: list[House] = []

    def open(*, processes: int = 2, **environment: str) -> House:
        folder: Path = tmp_path_factory.mktemp("house")
        places = {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "LOG_LEVEL": "INFO"}
        first = Server(folder, environment={**places, **environment})
        key = first.prepare()
        servers = [first, *(first.beside() for _ in range(processes - 1))]
        opened.append(House([server.start() for server in servers], key))
        return opened[-1]

    yield open
    for house in opened:
        for server in house.servers[1:]:
            server.stop()
        house.servers[0].dispose()


def told(server: Server) -> tuple[int, dict[str, str]]:
    """Status of /readyz and what it says, check by check."""
    answer = httpx.get(f"{server.base}/readyz", verify=PLAIN, timeout=30)
    return answer.status_code, {"status": answer.json()["status"], **answer.json()["checks"]}


def wait_until_ready(house: House, status: str = "ok") -> None:
    """Until every process says so."""
    until(lambda: all(told(server)[1]["status"] == status for server in house.servers), f"ready: {status}")


@pytest.fixture
async def phone(house: House) -> AsyncIterator[Phone]:
    """Connects to the processes of the module's installation in turn."""
    made = await house.phone()
    yield made
    await made.close()
    await house.witness.close()


@pytest.fixture
async def game_service(house: House) -> AsyncIterator[Service]:
    """At the second process; phones begin at the first."""
    service = await Service(house.servers[1].base, house.key).connect()
    yield service
    await service.close()
