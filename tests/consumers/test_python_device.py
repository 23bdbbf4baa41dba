"""What an app does around a device of clients/python: callbacks that fail, plain functions, ends and beginnings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from meanwhile_client import Device, Gap, MemoryStore, Message, Service
from meanwhile_client.store import Place

from tests.consumers.actors import DEADLINE, Phone
from tests.consumers.conftest import House
from tests.consumers.running import Running


async def purged(house: House, stream: str, upto: int) -> None:
    async with httpx.AsyncClient(base_url=house.base, headers={"Authorization": f"Bearer {house.key}"}) as http:
        answer = await http.post(f"/api/v1/streams/{stream}/purge", json={"upto": upto})
        assert answer.status_code == 200, answer.text


async def test_an_on_gap_that_raises_is_logged_and_what_is_behind_the_gap_comes(
    house: House, phone: Phone, backend: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def on_gap(gap: Gap) -> None:
        raise ValueError("no reload")

    for n in range(3):
        await backend.publish(phone.stream, "turn", n)
    await purged(house, phone.stream, 2)
    running = Running(house, phone, tmp_path, on_gap=on_gap)

    assert await running.got(1) == [2]
    assert running.device.done(phone.stream) == 3
    assert "could not be told of Gap" in caplog.text
    await running.stop()


async def test_a_gap_nobody_asked_for_is_logged_as_an_error(
    house: House, phone: Phone, backend: Service, caplog: pytest.LogCaptureFixture
) -> None:
    got: asyncio.Queue[Any] = asyncio.Queue()
    for n in range(2):
        await backend.publish(phone.stream, "turn", n)
    await purged(house, phone.stream, 1)
    device = Device(house.base, phone.token, {"turn": got.put})

    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        tasks.create_task(device.run())
        assert (await got.get()).data == 1
        await device.close()

    assert f"{phone.stream}: 1 to 1 will not come: purged" in caplog.text


async def test_plain_functions_are_handlers_too(house: House, phone: Phone, backend: Service, tmp_path: Path) -> None:
    values: list[Any] = []

    def count(message: Message) -> dict[str, Any]:
        if message.data == "bad":
            raise ValueError("no number")
        return {"twice": message.data * 2}

    running = Running(house, phone, tmp_path, gift=count, weather=values.append)
    async with asyncio.timeout(DEADLINE):
        await running.device.connected.wait()

    await backend.publish(phone.stream, "weather", 7)
    for data in (21, "bad"):
        await backend.publish(phone.stream, "gift", data)
    await backend.publish(phone.stream, "turn", 1)
    await running.got(1)

    assert [value.data for value in values] == [7]
    states = [(await backend.message(phone.stream, offset))["items"][0] for offset in (1, 2)]
    async with asyncio.timeout(DEADLINE):
        while [one["state"] for one in states] != ["processed", "failed"]:
            states = [(await backend.message(phone.stream, offset))["items"][0] for offset in (1, 2)]
    assert states[1]["code"] == "ValueError"
    await running.stop()


async def test_a_token_that_is_not_to_be_had_is_asked_for_again(house: House, phone: Phone, backend: Service) -> None:
    asked = 0

    def token() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise OSError("the back end is restarted")
        return phone.token

    device = Device(house.base, token, {})
    running = asyncio.create_task(device.run())
    async with asyncio.timeout(DEADLINE):
        await device.connected.wait()
        await device.close()
        await running

    assert asked == 2


async def test_cancelled_in_a_handler_it_ends_and_that_message_comes_again(
    house: House, phone: Phone, backend: Service, tmp_path: Path
) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def hang(_: Message) -> None:
        begun.set()
        await never.wait()

    first = Running(house, phone, tmp_path, turn=hang)
    await backend.publish(phone.stream, "turn", 1)
    async with asyncio.timeout(DEADLINE):
        await begun.wait()
        first.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first.task

    second = Running(house, phone, tmp_path)

    assert await second.got(1) == [1]
    await second.stop()


async def test_after_a_close_from_a_handler_nothing_more_is_handed_over(
    house: House, phone: Phone, backend: Service, tmp_path: Path
) -> None:
    async def last(message: Message) -> None:
        got.append(message.data)
        await first.device.close()

    got: list[Any] = []
    await backend.publish_all([{"to": phone.stream, "name": "turn", "data": n} for n in range(5)])
    first = Running(house, phone, tmp_path, turn=last)
    async with asyncio.timeout(DEADLINE):
        await first.task

    second = Running(house, phone, tmp_path)

    assert got == [0]
    assert await second.got(4) == [1, 2, 3, 4]
    await second.stop()


class Full(MemoryStore):
    def save(self, places: dict[str, Place]) -> None:
        raise OSError("no room on the disk")


async def test_what_the_store_raises_ends_the_device_and_nothing_is_reported(
    house: House, phone: Phone, backend: Service
) -> None:
    got: list[Any] = []
    device = Device(house.base, phone.token, {"turn": lambda message: got.append(message.data)}, store=Full())
    await backend.publish_all([{"to": phone.stream, "name": "turn", "data": n} for n in range(3)])

    async with asyncio.timeout(DEADLINE):
        with pytest.raises(OSError, match="no room"):
            await device.run()

    assert got == [0]
    assert (await backend.message(phone.stream, 1))["items"][0]["state"] != "processed"


async def test_a_device_that_is_taken_over_ends_for_good(house: House, phone: Phone, tmp_path: Path) -> None:
    older = Running(house, phone, tmp_path)
    async with asyncio.timeout(DEADLINE):
        await older.device.connected.wait()
        newer = Running(house, phone, tmp_path)
        await newer.device.connected.wait()
        with pytest.raises(Exception, match="superseded"):
            await older.task

    await newer.stop()
