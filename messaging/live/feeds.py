"""Services that listen: results and presence as they are stored. A cursor per connection, never a queue (P8).

What is told is read from the database; a wake-up only says that there is something to read. So one that was lost costs
a repair interval (P10), and a service that does not read costs a number.
LIMIT: each listening connection reads once a repair interval, also when nothing happens.
LIMIT: daphne takes whatever it is given: there, what a service does not read waits in the server's memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Any, Protocol

from messaging.live.reader import Reader
from messaging.log import feed, sql
from messaging.log.effects import Effects
from messaging.models import Presence
from messaging.protocol import wire

#: Rows of one read.
PAGE = 200
#: A change of presence is committed at most so long after the moment it bears (s).
LATE = 5.0


class Link(Protocol):
    """A service's connection."""

    @property
    def blocked(self) -> bool: ...

    def send(self, text: str) -> None: ...


def feed_topic(service_id: int) -> str:
    return f"feed.{service_id}"


def presence_topic(app_id: int) -> str:
    return f"presence.{app_id}"


class Follower:
    """Sends what stands behind its cursor, a page at a time, while the link takes it; one read at a time."""

    def __init__(self, link: Link, reader: Reader, topic: str) -> None:
        self.link = link
        self.reader = reader
        self.topic = topic
        self.over = False
        self._again = False
        self._running = False

    def wake(self) -> Coroutine[Any, Any, None] | None:
        """There may be more. → what is to be run, if it is not under way."""
        self._again = True
        if self._running or self.over or self.link.blocked:
            return None
        self._running = True
        return self._follow()

    async def _follow(self) -> None:
        try:
            while self._again and not self.over and not self.link.blocked:
                self._again = False
                self._again = await self._step() or self._again
        finally:
            self._running = False

    async def _step(self) -> bool:
        """Reads and sends a page; whether there may be more."""
        raise NotImplementedError


class ResultFollower(Follower):
    """The results feed of a service: positions in order, none skipped in silence, none twice."""

    def __init__(self, link: Link, reader: Reader, service_id: int, after: int) -> None:
        super().__init__(link, reader, feed_topic(service_id))
        self._service_id = service_id
        self.position = after

    async def _step(self) -> bool:
        after = self.position
        items = await self.reader.ask(lambda: feed.items(self._service_id, after=after, limit=PAGE))
        for item in items:
            if self.link.blocked or self.over:
                return True
            self._tell(item)
        return len(items) == PAGE

    def _tell(self, item: dict[str, Any]) -> None:
        position = item["position"]
        if position > self.position + 1:
            # Past the time the feed is kept, or of a device that was deleted.
            self.link.send(wire.frame("results_gap", **{"from": self.position + 1, "to": position - 1}))
        self.link.send(wire.frame("result", **item))
        self.position = position


class PresenceFollower(Follower):
    """The presence of an app's devices: the newest state of each that is told (`log/whereabouts.py`).

    The cursor is a moment. What bears an earlier one may be committed later, so a little before it is read again, and
    what was told is remembered for as long.
    """

    def __init__(self, link: Link, reader: Reader, app_id: int, since: datetime) -> None:
        super().__init__(link, reader, presence_topic(app_id))
        self._app_id = app_id
        self._begin = self._since = since
        self._told: dict[int, datetime] = {}

    async def _step(self) -> bool:
        place: tuple[datetime, int] = (max(self._begin, self._since - timedelta(seconds=LATE)), 0)
        while True:
            rows, now = await self._read(place)
            # Where the clock was set back, what comes from now on bears moments before those that were read.
            self._begin, self._since = min(self._begin, now), min(self._since, now)
            if not rows:
                break
            for device_id, device, state, since, told_at in rows:
                if self.link.blocked or self.over:
                    return True
                if self._told.get(device_id) != told_at:
                    self.link.send(wire.frame("presence", device=device, state=state, at=wire.instant(since)))
                    self._told[device_id] = told_at
                self._since = max(self._since, told_at)
            place = (rows[-1][-1], rows[-1][0])
        kept = self._since - timedelta(seconds=LATE)
        self._told = {device: moment for device, moment in self._told.items() if moment >= kept}
        return False

    def _read(
        self, place: tuple[datetime, int]
    ) -> asyncio.Future[tuple[list[tuple[int, str, str, datetime, datetime]], datetime]]:
        """A page behind a place, and the database's clock."""
        changed = Presence.objects.changes(app_id=self._app_id, after=place)
        return self.reader.ask(lambda: (list(changed[:PAGE]), sql.now()))


class Feeds:
    """Who follows what in this process.

    entered, left: told when the first follower of a topic comes and the last one goes (wake-ups).
    """

    def __init__(
        self,
        *,
        reader: Reader,
        run: Callable[[Coroutine[Any, Any, None]], None],
        entered: Callable[[str], None],
        left: Callable[[str], None],
    ) -> None:
        self._reader = reader
        self._run = run
        self._entered = entered
        self._left = left
        self._followers: dict[str, set[Follower]] = {}

    async def results_from(self, service_id: int, after: int | None) -> int:
        """Where a service's following begins: behind `after`, else now. Raises `position_gone`."""
        if after is None:
            return await self._reader.ask(lambda: feed.head(service_id))
        await self._reader.ask(lambda: feed.check(service_id, after))
        return after

    def results(self, link: Link, service_id: int, after: int) -> Follower:
        return self._add(ResultFollower(link, self._reader, service_id, after))

    async def presence(self, link: Link, app_id: int) -> Follower:
        """Follows from now on."""
        return self._add(PresenceFollower(link, self._reader, app_id, await self._reader.ask(sql.now)))

    def _add(self, follower: Follower) -> Follower:
        others = self._followers.setdefault(follower.topic, set())
        if not others:
            self._entered(follower.topic)
        others.add(follower)
        self.wake([follower])
        return follower

    def remove(self, follower: Follower) -> None:
        follower.over = True
        others = self._followers.get(follower.topic, set())
        others.discard(follower)
        if not others and self._followers.pop(follower.topic, None) is not None:
            self._left(follower.topic)

    def wake(self, followers: Iterable[Follower]) -> None:
        for follower in list(followers):
            work = follower.wake()
            if work:
                self._run(work)

    def deliver(self, effects: Effects) -> None:
        """Something was stored. Lost, doubled or late calls cost time, never a result."""
        for service_id in effects.feeds:
            self.wake(self._followers.get(feed_topic(service_id), ()))
        for app_id in effects.presences:
            self.wake(self._followers.get(presence_topic(app_id), ()))

    def repair(self) -> None:
        """The repair round: everybody looks."""
        for followers in list(self._followers.values()):
            self.wake(followers)
