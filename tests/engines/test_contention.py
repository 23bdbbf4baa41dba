"""Two processes that write to the same streams, in every order: nobody deadlocks, nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import psycopg

from tests.consumers.actors import Phone, Service, Socket
from tests.consumers.conftest import House
from tests.engines.conftest import OpenHouse

ROOMS = [f"room:{name}" for name in "abcdef"]
PUBLISHES, PHONES = 80, 8


def deadlocks(house: House) -> int:
    with psycopg.connect(house.servers[0].environment["DATABASE_URL"]) as connection:
        found = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(found.fetchone()[0])  # type: ignore[index]


async def publish(house: House, server: int, chance: random.Random) -> dict[str, list[int]]:
    """To several rooms at once, named in any order. → offsets by room."""
    service = await Service(house.servers[server].base, house.key).connect()
    got: dict[str, list[int]] = {room: [] for room in ROOMS}
    for number in range(PUBLISHES):
        rooms = chance.sample(ROOMS, 3)
        for item in await service.publish(rooms, chance.choice(["turn", "gift", "weather"]), number, key="k"):
            if "offset" in item:
                got[item["stream"]].append(item["offset"])
    await service.close()
    return got


async def live(phone: Phone, chance: random.Random) -> dict[str, list[int]]:
    """Takes everything, acknowledges, reports, comes and goes, now at one process and now at the other. → offsets."""
    got: dict[str, list[int]] = {room: [] for room in ROOMS}
    socket, _ = await phone.connect(resume="replay")
    while sum(map(len, got.values())) < phone.expected:  # type: ignore[attr-defined]
        frame = await socket.receive()
        for one in frame.get("items", [frame]) if frame["type"] in {"message", "messages"} else []:
            if one["offset"] > len(got[one["stream"]]):
                got[one["stream"]].append(one["offset"])
        await told(socket, got, chance)
        if chance.random() < 0.03:
            await socket.close()
            socket, _ = await phone.connect(resume="replay")
    await socket.close()
    return got


async def told(socket: Socket, got: dict[str, list[int]], chance: random.Random) -> None:
    for room in chance.sample(ROOMS, len(ROOMS)):
        if got[room]:
            await socket.send("ack", stream=room, upto=got[room][-1])
            if chance.random() < 0.3:
                await socket.send("results", stream=room, upto=got[room][-1])


async def test_writers_of_two_processes_neither_deadlock_nor_lose_anything(open_house: OpenHouse) -> None:
    house = open_house(MEANWHILE_FRAME_RATE="10000", MEANWHILE_FRAME_BURST="10000")
    chance = random.Random(7)
    phones: list[Any] = []
    service = Service(house.base, house.key)
    for number in range(PHONES):
        phone = await house.phone(name=f"mixed-{number}")
        answer = await service.http.post("/api/v1/devices", json={"device": phone.name, "streams": ROOMS})
        assert answer.status_code == 201, answer.text
        phone.token = answer.json()["token"]
        phones.append(phone)

    published = await asyncio.gather(*(publish(house, n % 2, random.Random(n)) for n in range(4)))
    offsets = {room: sorted(n for one in published for n in one[room]) for room in ROOMS}
    for phone in phones:
        phone.expected = sum(map(len, offsets.values()))
    busy = [publish(house, n % 2, random.Random(100 + n)) for n in range(4)]
    received, more = await asyncio.gather(
        asyncio.gather(*(live(phone, random.Random(chance.random())) for phone in phones)), asyncio.gather(*busy)
    )
    for phone in phones:
        await phone.close()
    await service.http.aclose()

    everything = {room: sorted(offsets[room] + [n for one in more for n in one[room]]) for room in ROOMS}
    assert everything == {room: list(range(1, len(everything[room]) + 1)) for room in ROOMS}
    for got in received:
        assert {room: got[room] for room in ROOMS} == {room: list(range(1, len(got[room]) + 1)) for room in ROOMS}
    assert deadlocks(house) == 0


async def test_an_idempotency_key_used_at_two_processes_at_once_gives_one_message_and_one_answer(
    open_house: OpenHouse,
) -> None:
    house = open_house()
    services = [Service(server.base, house.key) for server in house.servers]

    async def post(service: Service, number: int) -> tuple[int, str]:
        body = {"messages": [{"to": "room:once", "name": "turn", "data": number}]}
        answer = await service.http.post("/api/v1/messages", json=body, headers={"Idempotency-Key": f"key-{number}"})
        return answer.status_code, answer.text

    answers = [await asyncio.gather(*(post(service, number) for service in services)) for number in range(1, 41)]
    for service in services:
        await service.http.aclose()

    assert [set(pair) for pair in answers] == [
        {(200, f'{{"items":[{{"stream":"room:once","offset":{number}}}]}}')} for number in range(1, 41)
    ]
