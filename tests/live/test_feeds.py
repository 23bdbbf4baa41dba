"""Following the results feed: a cursor, whatever the service reads and whatever is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction

from apps_registry.models import Device
from messaging.live.feeds import Feeds
from messaging.live.node import Node
from messaging.log import presence, sql
from messaging.log.cursors import write_results
from messaging.log.effects import Effects
from messaging.log.presence import Arrival
from messaging.models import Presence, Result, Stream
from messaging.protocol.rules import Segment
from tests.conftest import World
from tests.live.fakes import FakeLink


class NarrowLink(FakeLink):
    """Takes so many frames, then is blocked until it is read."""

    def __init__(self, takes: int) -> None:
        super().__init__()
        self._takes = takes

    def send(self, text: str) -> None:
        assert not self.blocked, "a frame for a link that does not take any would wait in memory"
        super().send(text)
        self.blocked = len(self.frames) >= self._takes


@pytest.fixture
def save(node: Node, world: World, phone: Device) -> Callable[[int], None]:
    """Writes so many results of the phone for the game service."""
    stream = Stream.objects.get(name="device:phone")

    def write(count: int) -> None:
        with transaction.atomic():
            rows = [(world.game.pk, phone.pk, stream.pk, Segment(n, n)) for n in range(1, count + 1)]
            write_results(rows, Effects())

    return write


class Following:
    """The game service's connection at a process whose wake-ups are all lost."""

    def __init__(self, node: Node, world: World, link: FakeLink) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.topics: list[tuple[str, bool]] = []
        self.feeds = Feeds(
            reader=node.reader,
            run=lambda work: self.tasks.append(asyncio.get_running_loop().create_task(work)),
            entered=lambda topic: self.topics.append((topic, True)),
            left=lambda topic: self.topics.append((topic, False)),
        )
        self.link = link
        self.follower = self.feeds.results(link, world.game.pk, 0)

    async def settle(self) -> None:
        while self.tasks:
            await self.tasks.pop()

    def positions(self) -> list[int]:
        return [frame["position"] for frame in self.link.frames if frame["type"] == "result"]


async def test_a_service_that_does_not_read_costs_a_number(
    node: Node, world: World, save: Callable[[int], None]
) -> None:
    await node.reader.ask(lambda: save(450))
    link = NarrowLink(takes=70)
    following = Following(node, world, link)

    await following.settle()
    told = following.positions()
    while link.blocked:
        link.take()
        link.blocked = False
        following.feeds.wake([following.follower])
        await following.settle()
        told += following.positions()

    assert told == list(range(1, 451))


async def test_a_lost_wake_up_is_made_good_by_the_repair_round(
    node: Node, world: World, save: Callable[[int], None]
) -> None:
    following = Following(node, world, FakeLink())
    await following.settle()
    await node.reader.ask(lambda: save(3))

    following.feeds.repair()
    await following.settle()
    following.feeds.repair()
    await following.settle()

    assert following.positions() == [1, 2, 3]


async def test_what_the_feed_no_longer_keeps_is_told(node: Node, world: World, save: Callable[[int], None]) -> None:
    await node.reader.ask(lambda: save(6))
    await node.reader.ask(Result.objects.filter(position__in=[1, 2, 5]).delete)
    following = Following(node, world, FakeLink())

    await following.settle()

    told = [(f["type"], f.get("position"), f.get("from"), f.get("to")) for f in following.link.frames]
    assert told == [
        ("results_gap", None, 1, 2),
        ("result", 3, 3, None),
        ("result", 4, 4, None),
        ("results_gap", None, 5, 5),
        ("result", 6, 6, None),
    ]


async def test_the_last_follower_of_a_topic_leaves_it(node: Node, world: World) -> None:
    following = Following(node, world, FakeLink())
    await following.settle()

    following.feeds.remove(following.follower)
    following.feeds.remove(following.follower)

    topic = f"feed.{world.game.pk}"
    assert following.topics == [(topic, True), (topic, False)]


async def test_a_presence_is_told_also_after_the_clock_was_set_back(
    node: Node, world: World, phone: Device, tablet: Device
) -> None:
    """What was told last bears a moment that is still to come."""
    link = FakeLink()
    following = Following(node, world, FakeLink())
    follower = await following.feeds.presence(link, world.app.pk)

    def enter(device: Device, since: timedelta) -> None:
        with transaction.atomic():
            presence.enter([Arrival(device.pk, "foreground", 1, "pull", "node-1")], Effects())
            # In the same transaction: the follower may be reading.
            Presence.objects.filter(device=device).update(told_at=sql.now() + since)

    for device, since in ((tablet, timedelta(hours=1)), (phone, timedelta(0))):
        await node.reader.ask(lambda device=device, since=since: enter(device, since))  # type: ignore[misc]
        for _ in range(2):
            following.feeds.wake([follower])
            await following.settle()

    assert [frame["device"] for frame in link.frames] == ["tablet", "phone"]
