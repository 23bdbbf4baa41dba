"""`GET /api/v1/pending?wait=…`: for clients that cannot have a WebSocket."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.consumers.actors import DEADLINE, Phone, Service

LONG = 60


class Poller:
    """A phone that polls at the first process, while services publish at the last."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone
        self.http = phone.http_at_first
        self.http.timeout = httpx.Timeout(LONG)
        self._tasks: list[asyncio.Task[httpx.Response]] = []

    def poll(self, wait: int = LONG, **query: Any) -> asyncio.Task[httpx.Response]:
        self._tasks.append(asyncio.create_task(self.http.get("/api/v1/pending", params={"wait": wait, **query})))
        return self._tasks[-1]

    async def waiting(self, count: int) -> None:
        """Returns when so many pulls wait at the server."""
        async with asyncio.timeout(DEADLINE):
            while await self._waiting() != count:
                pass

    async def _waiting(self) -> int:
        found = re.search(r"^meanwhile_polls_waiting (\d+)$", (await self.http.get("/metrics")).text, re.MULTILINE)
        assert found
        return int(found[1])

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.waiting(0)


@pytest.fixture
async def poller(phone: Phone) -> AsyncIterator[Poller]:
    made = Poller(phone)
    yield made
    await made.close()


async def page(task: asyncio.Task[httpx.Response]) -> dict[str, Any]:
    answer = await asyncio.wait_for(task, DEADLINE)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_what_is_there_is_told_at_once(poller: Poller, game_service: Service) -> None:
    await game_service.publish(poller.phone.stream, data="here")

    told = await page(poller.poll())

    assert [one["data"] for one in told["messages"]] == ["here"]


async def test_what_arrives_ends_the_wait(poller: Poller, game_service: Service) -> None:
    polling = poller.poll()
    await poller.waiting(1)

    await game_service.publish(poller.phone.room, "gift", "rose")

    assert [one["data"] for one in (await page(polling))["messages"]] == ["rose"]


async def test_a_new_value_ends_the_wait_and_its_receipt_is_kept(poller: Poller, game_service: Service) -> None:
    polling = poller.poll()
    await poller.waiting(1)

    await game_service.publish(poller.phone.room, "weather", 21, key="berlin")
    told = await page(polling)
    receipt = {"stream": poller.phone.room, "version": told["latest"][0]["version"]}
    acked = await poller.http.post("/api/v1/acks", json={"latest": [receipt]})
    again = await page(poller.poll(wait=1))

    assert [one["data"] for one in told["latest"]] == [21]
    assert acked.status_code == 204
    assert again["latest"] == []


async def test_a_wait_without_news_ends_in_time_with_an_empty_page(poller: Poller) -> None:
    begun = time.monotonic()

    told = await page(poller.poll(wait=1))

    assert (told["messages"], told["latest"], told["gaps"], told["next"]) == ([], [], [], None)
    assert time.monotonic() - begun > 0.9


async def test_only_the_stream_asked_for_ends_the_wait(poller: Poller, game_service: Service) -> None:
    polling = poller.poll(stream=poller.phone.stream)
    await poller.waiting(1)

    await game_service.publish(poller.phone.room, "gift", "elsewhere")
    await game_service.publish(poller.phone.stream, data="here")

    assert [one["data"] for one in (await page(polling))["messages"]] == ["here"]


async def test_what_concerns_nobody_but_those_who_are_there_does_not(poller: Poller, game_service: Service) -> None:
    polling = poller.poll()
    await poller.waiting(1)

    await game_service.publish(poller.phone.room, "chat", "bullet")
    await game_service.publish("room:elsewhere", "gift")
    await poller.waiting(1)

    assert not polling.done()


async def test_a_client_that_leaves_is_noticed(poller: Poller) -> None:
    polling = poller.poll()
    await poller.waiting(1)

    polling.cancel()

    await poller.waiting(0)


async def test_no_more_wait_than_may(poller: Poller) -> None:
    for _ in range(8):
        poller.poll()
    await poller.waiting(8)

    refused = await asyncio.wait_for(poller.poll(), DEADLINE)

    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert refused.headers["Retry-After"] == "1"


async def test_who_polls_is_in_the_foreground(poller: Poller, game_service: Service) -> None:
    about = f"/api/v1/devices/{poller.phone.name}"
    pulled = await poller.phone.pending()
    before = (await game_service.http.get(about)).json()["presence"]["state"]

    poller.poll()
    await poller.waiting(1)
    during = (await game_service.http.get(about)).json()["presence"]["state"]

    assert pulled["messages"] == []
    assert (before, during) == ("offline", "foreground")


async def test_a_closing_ends_the_wait_and_is_told_once(poller: Poller, game_service: Service) -> None:
    room = poller.phone.room
    polling = poller.poll()
    await poller.waiting(1)

    await game_service.http.post(f"/api/v1/streams/{room}/close")
    told = await page(polling)
    poller.poll()
    await poller.waiting(1)

    assert told["streams"][room]["closed"] is True


async def test_who_was_away_gets_the_rest_of_a_closed_room_and_the_closing(
    poller: Poller, game_service: Service
) -> None:
    room = poller.phone.room
    await page(poller.poll(wait=1))
    await game_service.publish(room, "gift", "last")
    await game_service.http.post(f"/api/v1/streams/{room}/close")

    told = await page(poller.poll())
    await poller.http.post("/api/v1/results", json={"stream": room, "upto": 1})
    poller.poll()
    await poller.waiting(1)

    assert [one["data"] for one in told["messages"]] == ["last"]
    assert told["streams"][room]["closed"] is True


async def test_a_closing_with_nothing_before_it_is_told_at_once_to_who_was_away(
    poller: Poller, game_service: Service
) -> None:
    room = poller.phone.room
    await page(poller.poll(wait=1))
    # Written behind that answer's last word: a closing in the same moment might be missed (LIMIT in `presence.poll`).
    await poller.http.post("/api/v1/notices", json={"state": "foreground", "state_seq": 0})
    await game_service.http.post(f"/api/v1/streams/{room}/close")

    told = await page(poller.poll())

    assert told["streams"][room]["closed"] is True


async def test_a_device_that_is_put_into_a_room_hears_of_it(poller: Poller, game_service: Service) -> None:
    polling = poller.poll()
    await poller.waiting(1)

    await game_service.http.put(f"/api/v1/streams/room:new/members/{poller.phone.name}")

    assert "room:new" in (await page(polling))["streams"]


async def test_a_device_that_is_revoked_while_it_waits_is_refused(poller: Poller, game_service: Service) -> None:
    polling = poller.poll()
    await poller.waiting(1)

    await game_service.http.post(f"/api/v1/devices/{poller.phone.name}/revoke")
    refused = await asyncio.wait_for(polling, DEADLINE)

    assert (refused.status_code, refused.json()["code"]) == (403, "device_revoked")


@pytest.mark.parametrize("wait", ["0", "61", "soon", "-1", "1.5"])
async def test_a_wait_is_of_1_to_60_seconds(poller: Poller, wait: str) -> None:
    refused = await poller.http.get("/api/v1/pending", params={"wait": wait})

    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
