"""A device of clients/python one of whose handlers is slow, or never returns: the other streams go on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from meanwhile_client import Latest, MemoryStore, Message, Service, Transient, lane
from meanwhile_client.progress import Progress
from meanwhile_client.store import Place

from tests.consumers.actors import DEADLINE, Phone
from tests.consumers.conftest import House
from tests.consumers.running import Running


class Jam:
    """A handler that holds its first message until it is let go; what it was handed, in order."""

    def __init__(self) -> None:
        self.held, self.go = asyncio.Event(), asyncio.Event()
        self.handed: list[Any] = []
        self._more = asyncio.Condition()

    async def take(self, message: Message) -> None:
        async with self._more:
            self.handed.append(message.data)
            self._more.notify_all()
        self.held.set()
        await self.go.wait()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE), self._more:
            await self._more.wait_for(lambda: len(self.handed) >= count)


def a_message(offset: int) -> Message:
    return Message("device:a", offset, "turn", "2026-11-22T10:00:00.000Z", None, offset)


async def jammed(backend: Service, phone: Phone, numbers: range) -> None:
    for begin in range(numbers.start, numbers.stop, 500):
        part = range(begin, min(begin + 500, numbers.stop))
        await backend.publish_all([{"to": phone.stream, "name": "gift", "data": n} for n in part])


async def test_while_a_handler_hangs_the_other_streams_go_on(
    house: House, phone: Phone, backend: Service, tmp_path: Path
) -> None:
    jam = Jam()
    running = Running(house, phone, tmp_path, gift=jam.take)
    await jammed(backend, phone, range(100))  # more than a window
    async with asyncio.timeout(DEADLINE):
        await jam.held.wait()
    await backend.publish(phone.room, "turn", "elsewhere")

    assert await running.got(1) == ["elsewhere"]
    assert running.device.done(phone.stream) == 0
    told = (await backend.message(phone.stream, 1))["items"][0]
    assert told["state"] != "processed"

    jam.go.set()
    await jam.until(100)
    assert jam.handed == list(range(100))
    await running.stop()


async def test_what_waited_for_a_handler_comes_again_after_a_restart(
    house: House, phone: Phone, backend: Service, tmp_path: Path
) -> None:
    jam = Jam()
    first = Running(house, phone, tmp_path, gift=jam.take)
    await jammed(backend, phone, range(100))
    await backend.publish(phone.room, "turn", "elsewhere")
    await first.got(1)
    await jam.until(1)
    first.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first.task
    assert jam.handed == [0]

    jam.go.set()
    second = Running(house, phone, tmp_path, gift=jam.take)
    await jam.until(101)

    assert jam.handed == [0, *range(100)]
    await second.stop()


async def test_a_connection_that_is_lost_meanwhile_hands_nothing_over_twice(
    house: House, phone: Phone, backend: Service, tmp_path: Path
) -> None:
    jam = Jam()
    running = Running(house, phone, tmp_path, gift=jam.take)
    await jammed(backend, phone, range(100))
    await backend.publish(phone.room, "turn", "before")
    await running.got(1)

    assert running.device._connection
    await running.device._connection.close()
    await backend.publish(phone.room, "turn", "after")
    await running.got(2)
    jam.go.set()
    await jam.until(100)

    assert [message.data for message in running.messages] == ["before", "after"]
    assert jam.handed == list(range(100))
    await running.stop()


async def test_memory_is_bounded_while_a_handler_hangs_and_nothing_is_lost(
    house: House, phone: Phone, backend: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "STUCK", 0.2)
    jam = Jam()
    running = Running(house, phone, tmp_path, gift=jam.take)
    await jammed(backend, phone, range(1500))
    await backend.publish(phone.room, "turn", "elsewhere")

    assert await running.got(1) == ["elsewhere"]
    assert len(running.device._lanes[phone.stream].waiting) <= lane.AHEAD + 64

    jam.go.set()
    await jam.until(1500)
    assert jam.handed == list(range(1500))
    await running.stop()


def test_what_is_acknowledged_before_its_handler_is_bounded() -> None:
    progress = Progress(MemoryStore())
    progress.begin([{"stream": "device:a", "epoch": "e", "processed": 0, "head": 5000}])

    for offset in range(1, 5001):
        progress.came(a_message(offset))

    assert list(progress.news()) == [{"type": "ack", "stream": "device:a", "upto": lane.AHEAD, "epoch": "e"}]
    assert list(progress.news()) == []


def test_what_is_processed_by_the_time_of_its_receipt_needs_none() -> None:
    progress = Progress(MemoryStore())
    progress.begin([{"stream": "device:a", "epoch": "e", "processed": 0, "head": 1}])

    progress.came(a_message(1))
    progress.processed(a_message(1), None)

    assert [frame["type"] for frame in progress.news()] == ["results"]


def test_of_values_that_wait_the_newest_of_each_key_is_kept_in_the_order_of_versions() -> None:
    waiting = lane.Lane(Place("e", 0))

    for version, key in enumerate(["here", "there", "here"], 1):
        waiting.value(Latest("device:a", "weather", key, version, 1, "", None, version))

    handed = [waiting.next(), waiting.next(), waiting.next()]
    assert [(one.key, one.version) for one in handed if isinstance(one, Latest)] == [("there", 2), ("here", 3)]


def test_values_and_messages_take_turns() -> None:
    waiting = lane.Lane(Place("e", 0))
    for offset in (1, 2):
        waiting.message(a_message(offset))
        waiting.value(Latest("device:a", "weather", str(offset), offset, 1, "", None, offset))

    handed = [waiting.next() for _ in range(4)]

    assert [type(one).__name__ for one in handed] == ["Message", "Latest", "Message", "Latest"]


def test_transient_messages_that_find_a_full_lane_are_gone() -> None:
    waiting = lane.Lane(Place("e", 0))

    for n in range(5000):
        waiting.transient(Transient("device:a", "chat", "", None, n))

    assert len(waiting.waiting) == lane.AHEAD
