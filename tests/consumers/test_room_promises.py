"""Live rooms as their users were promised them: what is shed, what expires, what a closing means, and for how long a
member is one. Real servers, over HTTP and sockets.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.consumers.actors import DEADLINE, Frame, Phone, Service, Socket, entry, messages
from tests.consumers.conftest import ENVIRONMENT, House
from tests.servers import PLAIN, Server

RATE = 10


@pytest.fixture
async def types(game_service: Service) -> None:
    """Bullet chat is shed first, commands never, a red packet is worth something for a second."""
    for body in (
        {"name": "bullet", "delivery": "transient", "priority": "low"},
        {"name": "command", "delivery": "every", "priority": "control"},
        {"name": "packet", "delivery": "every", "ttl": 1},
    ):
        answer = await game_service.http.post("/api/v1/types", json=body)
        assert answer.status_code in {200, 201}, answer.text


@pytest.fixture
def rate(house: House) -> Iterator[None]:
    house.set_room_rate(RATE)
    yield
    house.set_room_rate(None)


async def shed_in_all(service: Service) -> int:
    text = (await service.http.get("/metrics")).text
    found = re.search(r"^meanwhile_shed_messages_total (\d+)$", text, re.MULTILINE)
    assert found
    return int(found[1])


async def until_told(socket: Socket, room: str, head: int) -> list[Frame]:
    """All frames until every offset of the room up to its head was told; what comes is acknowledged."""
    frames: list[Frame] = []
    told = 0
    while told < head:
        frames.append(await socket.receive())
        for one in messages(frames[-1:]):
            assert (one["stream"], one["offset"]) == (room, told + 1), "in order, without a hole"
            told = one["offset"]
            await socket.send("ack", stream=room, upto=told)
        if frames[-1]["type"] == "gap":
            assert frames[-1]["from"] == told + 1
            told = frames[-1]["to"]
    return frames


@pytest.mark.usefixtures("types", "rate")
async def test_a_flooded_room_sheds_bullets_first_then_gifts_visibly_and_commands_never(
    phone: Phone, game_service: Service
) -> None:
    socket, _ = await phone.connect()
    before = await shed_in_all(game_service)
    flood = [
        {"to": phone.room, "name": name, "data": n}
        for n in range(1, 31)
        for name in ("bullet", "gift", *(["command"] if n % 10 == 0 else []))
    ]

    items = await game_service.publish_all(*flood)
    places = list(zip((draft["name"] for draft in flood), items, strict=True))
    head = max(item["offset"] for name, item in places if name != "bullet")
    frames = await until_told(socket, phone.room, head) + await socket.quiet()

    shed = {name: [item for kind, item in places if kind == name and item.get("shed")] for name, _ in places}
    assert shed["command"] == []
    # Half of the two seconds' worth is the gifts' alone.
    assert len(shed["bullet"]) == 30 - RATE // 2
    assert 0 < len(shed["gift"]) < len(shed["bullet"])
    arrived = [(one["name"], one["data"]) for one in messages(frames)]
    assert [data for name, data in arrived if name == "command"] == [10, 20, 30]
    gaps = [frame for frame in frames if frame["type"] == "gap"]
    assert {frame["reason"] for frame in gaps} == {"shed"}
    missing = [offset for frame in gaps for offset in range(frame["from"], frame["to"] + 1)]
    assert missing == [item["offset"] for item in shed["gift"]]
    passed = [draft["data"] for draft, item in zip(flood, items, strict=True) if item == {"stream": phone.room}]
    assert [frame["data"] for frame in frames if frame["type"] == "transient"] == passed
    count = sum(map(len, shed.values()))
    assert (await game_service.http.get(f"/api/v1/streams/{phone.room}")).json()["shed"] == count
    assert await shed_in_all(game_service) == before + count


@pytest.mark.usefixtures("types")
async def test_a_red_packet_past_its_time_is_a_gap_for_who_was_away(phone: Phone, game_service: Service) -> None:
    await game_service.publish_all(
        {"to": phone.room, "name": "gift", "data": 1},
        {"to": phone.room, "name": "packet", "data": 2},
        {"to": phone.room, "name": "gift", "data": 3},
    )
    async with asyncio.timeout(DEADLINE):
        while len((await phone.pending(stream=phone.room))["messages"]) == 3:
            pass

    socket, _ = await phone.connect(resume="replay")
    frames = await until_told(socket, phone.room, 3)

    assert [one["offset"] for one in messages(frames)] == [1, 3]
    assert [(f["from"], f["to"], f["reason"]) for f in frames if f["type"] == "gap"] == [(2, 2, "expired")]


async def closed_while_away(phone: Phone, service: Service) -> None:
    for n in (1, 2):
        await service.publish(phone.room, "gift", n)
    await service.publish(phone.room, "turn", "the last word")
    closed = await service.http.post(f"/api/v1/streams/{phone.room}/close")
    assert closed.status_code == 200, closed.text


async def test_what_is_published_to_a_closed_room_is_refused_with_410_whatever_it_is(
    phone: Phone, game_service: Service
) -> None:
    await closed_while_away(phone, game_service)

    refused = await game_service.publish_all(
        *[{"to": phone.room, "name": name, "data": 1} for name in ("gift", "weather", "chat")]
    )
    over_http = await game_service.http.post(
        "/api/v1/messages", json={"messages": [{"to": [phone.room, phone.stream], "name": "gift", "data": 1}]}
    )

    problems = [item["problem"] for item in refused]
    assert [(one["code"], one["status"], one["temporary"]) for one in problems] == [("stream_closed", 410, False)] * 3
    ((first, second),) = over_http.json()["items"]
    assert (first["problem"]["code"], second["stream"]) == ("stream_closed", phone.stream)


@pytest.mark.parametrize("resume", ["replay", "hold", "pull"])
async def test_who_was_away_when_the_room_closed_gets_the_rest_and_then_the_closing(
    phone: Phone, game_service: Service, resume: str
) -> None:
    await closed_while_away(phone, game_service)

    socket, welcome = await phone.connect(resume=resume)
    page = await phone.pending(stream=phone.room)
    saved = await phone.http.post("/api/v1/results", json={"stream": phone.room, "upto": 3})
    frames = await socket.until("stream_closed")

    assert (entry(welcome, phone.room)["cut"], frames[-1]["stream"], frames[-1]["head"]) == (3, phone.room, 3)
    assert [one["data"] for one in page["messages"]] == [1, 2, "the last word"]
    assert page["streams"][phone.room]["closed"] is True
    live = [one["data"] for one in messages(frames) if one["stream"] == phone.room]
    assert live == ([1, 2, "the last word"] if resume == "replay" else [])
    assert saved.json()["processed"] == 3
    assert [one for one in await socket.quiet() if one["type"] != "caught_up"] == []


async def test_who_polls_hears_of_the_closing(phone: Phone, game_service: Service) -> None:
    polling = asyncio.create_task(phone.http.get("/api/v1/pending", params={"wait": 30}, timeout=60))
    await game_service.publish(phone.room, "gift", 1)
    assert [one["data"] for one in (await polling).json()["messages"]] == [1]
    await phone.http.post("/api/v1/results", json={"stream": phone.room, "upto": 1})

    waiting = asyncio.create_task(phone.http.get("/api/v1/pending", params={"wait": 30}, timeout=60))
    await game_service.http.post(f"/api/v1/streams/{phone.room}/close")

    page = (await asyncio.wait_for(waiting, DEADLINE)).json()
    assert page["streams"][phone.room]["closed"] is True


async def test_who_joins_a_closed_room_gets_what_its_history_says_and_the_closing(
    phone: Phone, new_phone: Callable[..., Awaitable[Phone]], game_service: Service
) -> None:
    await game_service.http.put(f"/api/v1/streams/{phone.room}", json={"history": {"last": 2}})
    await closed_while_away(phone, game_service)
    guest = await new_phone()
    await game_service.http.post(
        "/api/v1/devices", json={"device": guest.name, "user": guest.user, "rooms": [phone.room]}
    )
    socket, _ = await guest.connect(resume="replay")
    await socket.caught_up()

    joined = await socket.ask("join", stream=phone.room)
    frames = await socket.until("stream_closed")

    assert (joined["processed"], joined["cut"]) == (1, 3)
    assert [one["data"] for one in messages(frames)] == [2, "the last word"]


async def test_a_member_is_one_until_it_leaves_also_after_the_server_was_killed(tmp_path: Path) -> None:
    server = Server(tmp_path, environment=ENVIRONMENT)
    key = server.prepare()
    server.start()
    try:
        async with httpx.AsyncClient(
            verify=PLAIN, base_url=server.base, headers={"Authorization": f"Bearer {key}"}
        ) as service:
            body = {"device": "phone", "user": "ann", "rooms": ["room:live-*"]}
            token = (await service.post("/api/v1/devices", json=body)).json()["token"]
            phone = Phone([server.base], "phone", token, "ann")
            socket, _ = await phone.connect()
            await socket.ask("join", stream="room:live-1")
            gift = {"messages": [{"to": "room:live-1", "name": "gift", "data": 1}]}
            await service.post("/api/v1/messages", json=gift)
            await socket.until("message")
            await socket.send("results", id=1, stream="room:live-1", upto=1)
            await socket.until("results_saved")

            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await service.post("/api/v1/messages", json=gift)
            again, welcome = await phone.connect(resume="replay")
            frames = await again.until("message")
            await phone.close()
    finally:
        server.dispose()

    place = entry(welcome, "room:live-1")
    assert (place["processed"], place["cut"]) == (1, 2)
    assert [(one["stream"], one["offset"]) for one in messages(frames)] == [("room:live-1", 2)]
