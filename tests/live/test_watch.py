"""Waiting pulls at the hub: what wakes them, and that they leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from messaging.live.hub import WATCHES, Hub
from messaging.live.reader import Reader
from messaging.log.effects import Appended, Effects, NewValue, Passing
from messaging.log.journal import Journal
from messaging.log.reading import Entry

PHONE = 7


class Desk:
    """A hub, and what it told about streams that are wanted here."""

    def __init__(self, reader: Reader) -> None:
        self.groups: list[tuple[str, int]] = []
        self.hub = Hub(
            journal=Journal(committed=lambda effects, finished: None, limit=10, batch=10),
            reader=reader,
            ring=8,
            page=10,
            opened=lambda ids: self.groups.extend(("opened", id) for id in ids),
            left=lambda id: self.groups.append(("left", id)),
            hold_timeout=1,
        )

    def watch(self, *entries: Entry, seconds: float = 5) -> asyncio.Task[None]:
        return asyncio.create_task(self.hub.watch(PHONE, list(entries), seconds))

    async def watching(self, *entries: Entry) -> asyncio.Task[None]:
        """A watch that has begun and goes on."""
        task = self.watch(*entries)
        await asyncio.wait({task}, timeout=0)
        assert not task.done()
        return task


def entry(id: int = 1, *, head: int = 3, version: int = 2, closed: bool = False, epoch: str = "e") -> Entry:
    return Entry(id, id, f"room:r{id}", epoch, head, head, version, head, 1, version, closed)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    reader = Reader()
    yield Desk(reader)
    reader.stop()


async def ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait_for(task, 2)


async def test_a_message_wakes_and_the_stream_is_dropped_afterwards(desk: Desk) -> None:
    task = await desk.watching(entry(1), entry(2))

    desk.hub.deliver(Effects(appended=[Appended(2, "room:r2", [], 4)]))
    await ended(task)

    assert desk.groups == [("opened", 1), ("opened", 2), ("left", 1), ("left", 2)]
    assert (desk.hub.streams, desk.hub.watching) == ({}, {})


async def test_a_closing_that_another_pull_read_first_wakes_who_waits(desk: Desk) -> None:
    task = await desk.watching(entry())

    later = desk.watch(entry(closed=True), seconds=0.01)

    await ended(task)
    await ended(later)


async def test_a_new_value_wakes(desk: Desk) -> None:
    task = await desk.watching(entry())

    desk.hub.deliver(Effects(values=[NewValue(1, "room:r1", "1/", "weather", "", 3, "t", None, "1")]))

    await ended(task)


async def test_what_a_pull_would_not_tell_does_not_wake(desk: Desk) -> None:
    task = await desk.watching(entry())

    desk.hub.deliver(Effects(passing=[Passing(1, "{}")], appended=[Appended(1, "room:r1", [], 3)]))
    await asyncio.wait({task}, timeout=0)

    assert not task.done()
    task.cancel()


async def test_one_watcher_leaves_the_stream_to_the_other(desk: Desk) -> None:
    first, second = await desk.watching(entry()), await desk.watching(entry())

    first.cancel()
    await asyncio.wait({first})
    still = dict(desk.hub.streams)
    second.cancel()
    await asyncio.wait({second})

    assert list(still) == [1]
    assert desk.groups == [("opened", 1), ("left", 1)]


async def test_a_device_that_waits_too_often_has_its_oldest_answered(desk: Desk) -> None:
    tasks = [await desk.watching(entry()) for _ in range(WATCHES + 1)]

    await ended(tasks[0])

    assert [task.done() for task in tasks] == [True] + [False] * WATCHES
    for task in tasks:
        task.cancel()


async def test_what_came_while_the_page_was_read_wakes_at_once(desk: Desk) -> None:
    ahead = await desk.watching(entry(head=5))

    await ended(desk.watch(entry(head=3)))

    assert not ahead.done()
    ahead.cancel()


async def test_a_head_that_is_news_here_wakes_the_others(desk: Desk) -> None:
    behind = await desk.watching(entry(head=3))

    newer = await desk.watching(entry(head=5))

    await ended(behind)
    newer.cancel()


async def test_time_ends_it(desk: Desk) -> None:
    await ended(desk.watch(entry(), seconds=0.01))

    assert desk.hub.watching == {}


async def test_news_of_the_device_itself_wake_it_and_no_other(desk: Desk) -> None:
    task = await desk.watching(entry())

    desk.hub.wake([PHONE + 1])
    await asyncio.wait({task}, timeout=0)
    others_did_not = not task.done()
    desk.hub.wake([PHONE])

    await ended(task)
    assert others_did_not


async def test_the_end_of_the_process_wakes_all_and_nobody_begins_to_wait(desk: Desk) -> None:
    task = await desk.watching(entry())

    desk.hub.end_watches()

    await ended(task)
    await ended(desk.watch(entry(2)))  # let in a moment before
    assert desk.hub.streams == {}


async def test_another_history_begins_anew(desk: Desk) -> None:
    old = await desk.watching(entry(head=9, epoch="old"))

    task = await desk.watching(entry(head=2, epoch="new"))

    assert desk.hub.streams[1].head == 2
    old.cancel()
    task.cancel()
