"""Redis killed, flushed, standing still: publishing goes on, delivery waits for the repair round at most (P10)."""

from __future__ import annotations

import time

import pytest

from tests.consumers.actors import Phone, Service
from tests.consumers.conftest import House
from tests.engines.conftest import NEVER, OpenHouse, told, wait_until_ready
from tests.engines.private import Redis

#: Seconds: the product's own repair interval, and what a delivery may take beyond it on a busy machine.
REPAIR, SLACK = 1.0, 1.0
#: As a worker does; prints how long it took (s).
COMMAND = """
import time, messaging
begin = time.monotonic()
for number in range(1, 6):
    messaging.publish(app="demo", to="{stream}", name="turn", data=number)
print(time.monotonic() - begin)
"""


@pytest.fixture(scope="module")
def house(open_house: OpenHouse) -> House:
    """With the repair round of the product."""
    return open_house(MEANWHILE_REPAIR_INTERVAL=str(REPAIR))


@pytest.fixture(scope="module")
def quiet_house(open_house: OpenHouse) -> House:
    """Its repair round comes once a minute: what arrives in time was brought by a wake-up."""
    return open_house(MEANWHILE_REPAIR_INTERVAL=NEVER)


@pytest.fixture
def whole_again(redis: Redis, house: House) -> object:
    """Redis is there again at the end, whatever a test did to it."""

    def mend() -> None:
        redis.mend()
        wait_until_ready(house)

    yield mend
    mend()


async def publish_and_time(service: Service, phone: Phone, count: int) -> float:
    """Publishes over the socket and over HTTP, all of it confirmed. → the longest it took (s)."""
    longest = 0.0
    for number in range(count):
        start = time.monotonic()
        assert "offset" in await service.publish(phone.stream, "turn", number)
        answer = await service.http.post(
            "/api/v1/messages", json={"messages": [{"to": phone.stream, "name": "turn", "data": number}]}
        )
        assert answer.status_code < 300, answer.text
        longest = max(longest, time.monotonic() - start)
    return longest


async def arrive_in_time(service: Service, phone: Phone) -> None:
    """Each of ten publishes reaches the phone at the other process within the repair interval, in order, once."""
    socket, _ = await phone.connect()
    for number in range(10):
        item = await service.publish(phone.stream, "turn", number)
        start = time.monotonic()
        message = await socket.expect("message")
        assert time.monotonic() - start < REPAIR + SLACK
        assert (message["offset"], message["data"]) == (item["offset"], number)


async def test_with_redis_killed_delivery_is_late_by_the_repair_interval_at_most(
    redis: Redis, house: House, phone: Phone, game_service: Service, whole_again: object
) -> None:
    redis.kill()

    longest = await publish_and_time(game_service, phone, 10)
    await arrive_in_time(game_service, phone)
    wait_until_ready(house, "degraded")

    assert longest < 2
    assert [told(server)[0] for server in house.servers] == [200, 200]


async def test_with_redis_standing_still_delivery_is_late_by_the_repair_interval_at_most(
    redis: Redis, house: House, phone: Phone, game_service: Service, whole_again: object
) -> None:
    redis.pause()

    longest = await publish_and_time(game_service, phone, 10)
    await arrive_in_time(game_service, phone)
    wait_until_ready(house, "degraded")

    assert longest < 2


async def test_a_command_is_not_held_up_by_a_redis_that_stands_still(
    redis: Redis, house: House, phone: Phone, whole_again: object
) -> None:
    socket, _ = await phone.connect()
    socket.settle = None  # who is asked may be deaf
    house.servers[0].shell("import messaging")
    redis.pause()

    took = float(house.servers[0].shell(COMMAND.format(stream=phone.stream)))
    got = await socket.messages(5)

    assert took < 6  # one waits, for 3 s
    assert [(one["offset"], one["data"]) for one in got] == [(number, number) for number in range(1, 6)]


async def test_a_server_starts_without_redis_and_uses_it_when_it_comes(
    redis: Redis, house: House, phone: Phone, game_service: Service, whole_again: object
) -> None:
    redis.kill()
    house.servers[0].stop()
    house.servers[0].start()

    await arrive_in_time(game_service, phone)
    redis.mend()

    wait_until_ready(house)


async def test_a_flush_takes_nothing_away(redis: Redis, quiet_house: House) -> None:
    phone, service = await quiet_house.phone(), await Service(quiet_house.servers[1].base, quiet_house.key).connect()
    socket, _ = await phone.connect()
    await service.publish(phone.stream, "turn", "before")
    await socket.expect("message")

    redis.client().flushall()
    await service.publish(phone.stream, "turn", "after")

    assert (await socket.expect("message"))["data"] == "after"
    await phone.close()
    await service.close()


async def test_wake_ups_work_again_by_themselves(redis: Redis, quiet_house: House) -> None:
    phone, service = await quiet_house.phone(), await Service(quiet_house.servers[1].base, quiet_house.key).connect()
    socket, _ = await phone.connect()

    for harm in (redis.kill, redis.pause, redis.deafen):
        harm()
        if harm != redis.deafen:
            wait_until_ready(quiet_house, "degraded")
        redis.mend()
        wait_until_ready(quiet_house)
        await service.publish(phone.stream, "turn", harm.__name__)
        got = await socket.expect("message")
        while got["data"] != harm.__name__:
            got = await socket.expect("message")

    await phone.close()
    await service.close()
