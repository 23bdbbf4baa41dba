"""kill -9 of one of two processes while a device is in the middle of its return: it goes on at the other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.consumers.actors import Frame, Phone, Service, entry, messages
from tests.consumers.conftest import House
from tests.engines.conftest import OpenHouse

BACKLOG = 200


@pytest.fixture(scope="module")
def house(open_house: OpenHouse) -> House:
    return open_house()


@pytest.fixture
async def backlog(phone: Phone, game_service: Service) -> list[int]:
    """What the phone has missed, offset by offset."""
    for begin in range(0, BACKLOG, 100):
        drafts = [{"to": phone.stream, "name": "turn", "data": begin + n + 1} for n in range(100)]
        await game_service.publish_all(*drafts)
    return list(range(1, BACKLOG + 1))


@pytest.fixture
async def killed(house: House) -> AsyncIterator[House]:
    """The first process comes back at the end."""
    yield house
    house.servers[0].start()


def offsets(items: list[Frame]) -> list[int]:
    assert [item["data"] for item in items] == [item["offset"] for item in items]
    return [item["offset"] for item in items]


async def test_in_the_middle_of_a_pull(killed: House, phone: Phone, game_service: Service, backlog: list[int]) -> None:
    await phone.connect()
    query = {"stream": phone.stream, "limit": "50"}
    first = (await phone.http_at_first.get("/api/v1/pending", params=query)).json()

    killed.servers[0].kill()
    found, cursor = list(first["messages"]), first["next"]
    while cursor:
        page = (await phone.http.get("/api/v1/pending", params={"cursor": cursor})).json()
        found, cursor = found + page["messages"], page["next"]
    saved = await phone.http.post("/api/v1/results", json={"stream": phone.stream, "upto": BACKLOG})

    assert offsets(found) == backlog
    assert saved.json() == {"stream": phone.stream, "processed": BACKLOG}


async def test_in_the_middle_of_a_replay(
    killed: House, phone: Phone, game_service: Service, backlog: list[int]
) -> None:
    socket, _ = await phone.connect(resume="replay")
    found: list[Frame] = []
    while len(found) < 60:
        found += messages([await socket.receive()])
        await socket.send("ack", stream=phone.stream, upto=len(found))

    killed.servers[0].kill()
    item = await game_service.publish(phone.stream, "turn", BACKLOG + 1)
    handled = len(found) - 7  # the others were in its hands
    positions = {phone.stream: {"processed": handled}}
    again, _ = await phone.connect(resume="replay", positions=positions)
    found = found[:handled]
    while len(found) <= BACKLOG:
        found += messages([await again.receive()])
        await again.send("ack", stream=phone.stream, upto=len(found))
    await again.send("results", id=1, stream=phone.stream, upto=BACKLOG + 1)
    saved = (await again.until("results_saved"))[-1]

    assert item["offset"] == BACKLOG + 1
    assert offsets(found) == [*backlog, BACKLOG + 1]
    assert saved["processed"] == BACKLOG + 1


async def test_in_the_middle_of_a_hold(killed: House, phone: Phone, game_service: Service, backlog: list[int]) -> None:
    held, welcome = await phone.connect(resume="hold")
    await game_service.publish(phone.stream, "turn", BACKLOG + 1)
    silent = messages(await held.quiet())

    killed.servers[0].kill()
    again, anew = await phone.connect(resume="hold")
    again.settle = None  # who is asked is dead
    await game_service.publish(phone.stream, "turn", BACKLOG + 2)
    still = messages(await again.quiet())
    page = await phone.pending(stream=phone.stream, until=BACKLOG + 1, limit=500)
    await again.send("results", id=1, stream=phone.stream, upto=BACKLOG + 1)
    released = [frame for frame in await again.until("message") if frame["type"] != "results_saved"]

    assert (entry(welcome, phone.stream)["cut"], entry(anew, phone.stream)["cut"]) == (BACKLOG, BACKLOG + 1)
    assert anew["generation"] == welcome["generation"] + 1
    assert silent == still == []
    assert offsets(page["messages"]) == [*backlog, BACKLOG + 1]
    assert offsets(messages(released)) == [BACKLOG + 2]
