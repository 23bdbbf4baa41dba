"""One installation, two processes: what happens at one is known at the other at once, by wake-up."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.consumers.actors import Phone, Service, Socket, entry, messages
from tests.consumers.conftest import House
from tests.engines.conftest import NEVER, OpenHouse

COMMAND = """
from django.db import transaction
import messaging
with transaction.atomic():
    messaging.publish(app="demo", to="{stream}", name="turn", data="rolled back")
    transaction.set_rollback(True)
with transaction.atomic():
    messaging.publish(app="demo", to="{stream}", name="turn", data="committed")
"""
ASYNC = """
import asyncio, messaging
async def view():
    one = await messaging.apublish(app="demo", to="{stream}", name="turn", data="first")
    both = await asyncio.gather(
        messaging.apublish(app="demo", to="{stream}", name="turn", data="async"),
        messaging.apublish(app="demo", to="{stream}", name="turn", data="async"),
    )
    print([stored.offset for stored in (one, *both)])
asyncio.run(view())
"""
SAVEPOINTS = """
from django.db import transaction
import messaging
def say(text, fails=False):
    try:
        with transaction.atomic():
            messaging.publish(app="demo", to="{stream}", name="turn", data=text)
            messaging.publish(app="demo", to="{stream}", name="weather", key="here", data=text)
            if fails:
                raise ValueError(text)
    except ValueError:
        pass
with transaction.atomic():
    say("before")
    say("rolled back", fails=True)
    say("after")
"""


@pytest.fixture(scope="module")
def house(open_house: OpenHouse) -> House:
    """Its repair round comes once a minute: what arrives in time was brought by a wake-up."""
    return open_house(MEANWHILE_REPAIR_INTERVAL=NEVER)


async def test_what_is_published_at_one_process_reaches_a_device_at_another_at_once(
    phone: Phone, game_service: Service
) -> None:
    socket, _ = await phone.connect()

    await game_service.publish(phone.stream, "turn", "here")

    assert [one["data"] for one in await socket.messages(1)] == ["here"]


async def test_a_message_published_while_a_device_connects_is_not_late(phone: Phone, game_service: Service) -> None:
    for number in range(20):
        (socket, welcome), _ = await asyncio.gather(phone.connect(), game_service.publish(phone.stream, "turn", number))
        if entry(welcome, phone.stream)["cut"] == number:
            assert (await socket.expect("message"))["data"] == number
        await socket.close()


async def test_what_is_too_large_for_a_wake_up_comes_at_once_all_the_same(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()

    await game_service.publish_all(*[{"to": phone.stream, "name": "turn", "data": "x" * 60_000}] * 4)
    await game_service.publish(phone.stream, "chat", "y" * 65_500)
    await game_service.publish(phone.stream, "weather", "z" * 65_500, key="here")
    frames: list[dict[str, object]] = []
    while len(messages(frames)) + sum(frame["type"] in {"transient", "latest"} for frame in frames) < 6:
        frames.append(await socket.receive())

    assert [one["offset"] for one in messages(frames)] == [1, 2, 3, 4]
    assert {frame["type"] for frame in frames} >= {"transient", "latest"}


async def test_one_publish_to_very_many_streams_reaches_each(house: House, game_service: Service) -> None:
    phones = [await house.phone() for _ in range(30)]
    sockets: list[Socket] = [(await phone.connect())[0] for phone in phones]

    await game_service.publish([phone.stream for phone in phones], "turn", "all of you")

    for socket, phone in zip(sockets, phones, strict=True):
        assert [one["data"] for one in messages([await socket.receive()])] == ["all of you"]
        await phone.close()


async def test_a_device_may_take_connect_pull_and_result_to_different_processes(
    house: House, phone: Phone, game_service: Service
) -> None:
    await game_service.publish_all(*[{"to": phone.stream, "name": "turn", "data": n} for n in range(3)])
    socket, welcome = await phone.connect()
    there = phone.http_of(house.servers[1].base)

    page = (await there.get("/api/v1/pending", params={"stream": phone.stream})).json()
    saved = await there.post("/api/v1/results", json={"stream": phone.stream, "upto": 2})
    await there.aclose()
    rest = await socket.ask("results", stream=phone.stream, upto=3)

    assert entry(welcome, phone.stream)["cut"] == 3
    assert [one["data"] for one in page["messages"]] == [0, 1, 2]
    assert saved.json() == {"stream": phone.stream, "processed": 2}
    assert rest["processed"] == 3


async def test_a_take_over_at_another_process_ends_the_older_connection_at_once(phone: Phone) -> None:
    older, first = await phone.connect()
    _, second = await phone.connect()

    bye = await older.expect("bye")

    assert (bye["code"], second["generation"] - first["generation"]) == ("superseded", 1)
    assert await older.closed() == 4509


async def test_a_notice_taken_at_another_process_silences_the_connection(
    house: House, phone: Phone, game_service: Service
) -> None:
    socket, _ = await phone.connect()
    there = phone.http_of(house.servers[1].base)

    answer = await there.post("/api/v1/notices", json={"state": "background", "state_seq": 99})
    await there.aclose()

    assert answer.json()["state"] == "background"
    # The notice is a wake-up as any other: values stop in a moment, without a repair round.
    async with asyncio.timeout(8):
        value = 0
        while True:
            value += 1
            await game_service.publish(phone.stream, "weather", value, key="here")
            if await socket.quiet() == []:
                break


async def test_a_command_publishes_in_its_own_transaction(house: House, phone: Phone) -> None:
    socket, _ = await phone.connect()

    house.servers[0].shell(COMMAND.format(stream=phone.stream))

    assert [(one["offset"], one["service"], one["data"]) for one in await socket.messages(1)] == [
        (1, None, "committed")
    ]


async def test_async_code_publishes_and_it_comes_at_once(house: House, phone: Phone) -> None:
    socket, _ = await phone.connect()

    said = house.servers[0].manage("shell", "-v0", "-c", ASYNC.format(stream=phone.stream))

    assert sorted(json.loads(said)) == [1, 2, 3]
    got = [(one["offset"], one["data"]) for one in await socket.messages(3)]
    assert got == [(1, "first"), (2, "async"), (3, "async")]


async def test_what_is_published_in_a_savepoint_goes_with_it(house: House, phone: Phone) -> None:
    socket, _ = await phone.connect()

    house.servers[0].manage("shell", "-v0", "-c", SAVEPOINTS.format(stream=phone.stream))
    frames: list[dict[str, object]] = []
    while not frames or frames[-1].get("data") != "after" or len(messages(frames)) < 2:
        frames.append(await socket.receive())
    frames += await socket.quiet()

    assert [(one["offset"], one["data"]) for one in messages(frames)] == [(1, "before"), (2, "after")]
    values = [(one["version"], one["data"]) for one in frames if one["type"] == "latest"]
    assert values in ([(1, "before"), (2, "after")], [(2, "after")])


async def test_two_installations_on_one_redis_do_not_hear_each_other(
    house: House, open_house: OpenHouse, phone: Phone
) -> None:
    other = open_house(MEANWHILE_REPAIR_INTERVAL=NEVER)
    stranger = await other.phone(name=phone.name, user=phone.user)
    theirs, _ = await stranger.connect()
    ours, _ = await phone.connect()
    service = await Service(house.servers[1].base, house.key).connect()

    await service.publish(phone.stream, "turn", "for us")

    assert [one["data"] for one in await ours.messages(1)] == ["for us"]
    assert await theirs.quiet() == []
    await stranger.close()
    await service.close()
    await other.witness.close()
