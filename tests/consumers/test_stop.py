"""A handler fails on a message whose type says `on_failure: stop`, against a real server."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.consumers.actors import Phone, Service
from tests.consumers.conftest import House
from tests.servers import PLAIN

FAILED = {"offset": 2, "status": "failed", "code": "TypeError", "detail": "no colour"}


@pytest.fixture
async def backend(house: House) -> Any:
    async with httpx.AsyncClient(
        verify=PLAIN, base_url=house.base, headers={"Authorization": f"Bearer {house.key}"}
    ) as http:
        about = {"name": "order", "delivery": "every", "on_failure": "stop"}
        (await http.post("/api/v1/types", json=about)).raise_for_status()
        yield http


async def three(phone: Phone, game_service: Service) -> None:
    """A turn, an order, a turn."""
    names = ("turn", "order", "turn")
    await game_service.publish_all(*({"to": phone.stream, "name": name, "data": 1} for name in names))


async def test_over_the_socket_the_server_waits_before_the_failure_and_goes_on_with_its_success(
    phone: Phone, game_service: Service, backend: httpx.AsyncClient
) -> None:
    socket, _ = await phone.connect()
    await three(phone, game_service)
    items = await socket.messages(3)

    first = await socket.ask("results", stream=phone.stream, upto=3, exceptions=[FAILED])
    again = await socket.ask("results", stream=phone.stream, upto=2, exceptions=[FAILED])
    state = (await backend.get(f"/api/v1/messages/{phone.stream}/2")).json()["items"][0]
    through = await socket.ask("results", stream=phone.stream, upto=3)

    assert [item.get("on_failure") for item in items] == [None, "stop", None]
    assert (first["processed"], first["stopped"]) == (1, 2)
    assert (again["processed"], again["stopped"]) == (1, 2)
    assert (state["state"], state["stopped"], state["processed"]) == ("failed", True, False)
    assert (through["processed"], "stopped" in through) == (3, False)


async def test_over_http_as_well(phone: Phone, game_service: Service, backend: httpx.AsyncClient) -> None:
    await three(phone, game_service)
    said = {"stream": phone.stream, "upto": 3, "exceptions": [FAILED]}

    one = (await phone.http.post("/api/v1/results", json=said)).json()
    many = (await phone.http.post("/api/v1/results", json=[said])).json()

    pending = (await phone.pending())["messages"]

    assert one == {"stream": phone.stream, "processed": 1, "stopped": 2}
    assert many == {"items": [one]}
    assert [(item["offset"], item.get("on_failure")) for item in pending] == [(2, "stop"), (3, None)]


async def test_a_replay_begins_with_what_it_stopped_at(
    phone: Phone, game_service: Service, backend: httpx.AsyncClient
) -> None:
    first, _ = await phone.connect()
    await three(phone, game_service)
    await first.messages(3)
    await first.send("ack", stream=phone.stream, upto=3)
    await first.ask("results", stream=phone.stream, upto=3, exceptions=[FAILED])

    second, _ = await phone.connect(resume="replay", positions={phone.stream: {"processed": 1}})

    told = [item for item in await second.messages(2) if item["stream"] == phone.stream]
    assert [(item["offset"], item.get("on_failure")) for item in told] == [(2, "stop"), (3, None)]


async def test_what_waits_in_a_stream_does_not_hold_up_another(
    phone: Phone, game_service: Service, backend: httpx.AsyncClient
) -> None:
    socket, _ = await phone.connect()
    await three(phone, game_service)
    await socket.messages(3)
    await socket.ask("results", stream=phone.stream, upto=3, exceptions=[FAILED])
    await socket.send("ack", stream=phone.stream, upto=3)

    await game_service.publish(phone.room, "gift")
    await socket.messages(1)
    saved = await socket.ask("results", stream=phone.room, upto=1)

    assert (saved["stream"], saved["processed"]) == (phone.room, 1)
