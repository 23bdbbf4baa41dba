"""A node: this process's Journal, Hub, reader and rounds, put together once and reached from every edge."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, Protocol

from django.conf import settings

from apps_registry.devices import OpenedToken, open_tokens
from messaging.live import repair, wakeups
from messaging.live.connections import Connections
from messaging.live.feeds import Feeds
from messaging.live.hub import Hub
from messaging.live.limits import Limits
from messaging.live.reader import Reader, Together
from messaging.live.repair import Caller
from messaging.live.shared import Shared
from messaging.live.wakeups import Wakeups
from messaging.log import backlog, lineage, online, presence, retention, sql, storage, whereabouts
from messaging.log.effects import Effects
from messaging.log.journal import Finished, Journal, tell
from messaging.protocol.errors import ProtocolError

logger = logging.getLogger("meanwhile.node")

#: Seconds between two renewals of the leases.
RENEW = 10.0
#: Seconds a request waits for the first look at the database.
PATIENCE = 3.0


def return_in() -> int:
    """When somebody who is sent away is to come back (ms): not all at once."""
    return random.randrange(100, 4000)  # noqa: S311 - spreads load


class Leaving(Protocol):
    """Whoever can be sent away."""

    def bye(self, code: str, *, detail: str = "", retry_after_ms: int = 0) -> None: ...


class Node:
    """Threads start at once, the hub's rounds with the first use on an event loop."""

    def __init__(self) -> None:
        self.journal = Journal(
            committed=self._committed,
            limit=settings.MEANWHILE_JOURNAL_QUEUE,
            batch=settings.MEANWHILE_JOURNAL_BATCH,
        )
        self.journal.start()
        self.reader = Reader()
        self.wakeups = Wakeups(
            identify=lambda: self.reader.ask(lineage.installation), heard=self._heard, joined=self._joined
        )
        self.hub = Hub(
            journal=self.journal,
            reader=self.reader,
            ring=settings.MEANWHILE_RING,
            page=settings.MEANWHILE_PAGE,
            opened=self.wakeups.opened,
            left=self.wakeups.left,
            hold_timeout=settings.MEANWHILE_HOLD_TIMEOUT,
        )
        self.feeds = Feeds(
            reader=self.reader, run=self.hub.run, entered=self.wakeups.follow, left=self.wakeups.unfollow
        )
        self.shared = Shared(settings.REDIS_URL, lineage.installed)
        self.limits = Limits(self.shared)
        self.connections = Connections(self.shared, self.wakeups.node, settings.MEANWHILE_APP_CONNECTIONS)
        #: Open service sockets.
        self.callers: set[Caller] = set()
        #: Lets devices in: token → device, many in one query.
        self.door: Together[str, OpenedToken] = Together(self.reader, open_tokens, most=256)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.draining = False
        #: Whether another process works on this database that no wake-up reaches.
        self.neighbours = False
        self._since: datetime | None = None
        self._rounds: list[asyncio.Task[None]] = []
        self._looking: asyncio.Task[None] | None = None
        self._fresh: set[int] = set()

    @property
    def name(self) -> str:
        return self.wakeups.node

    async def attach(self) -> None:
        """Starts the rounds on the running loop; once. Every edge that runs on the loop calls it first."""
        if self.loop is not None:
            return
        self.loop = asyncio.get_running_loop()
        await self.wakeups.start()
        self._rounds = [
            asyncio.create_task(self._round(settings.MEANWHILE_REPAIR_INTERVAL, self._repair)),
            asyncio.create_task(self._round(RENEW, self._renew)),
        ]
        for work in (self._count_online, self._tell_departures, self._add_up_storage):
            self._rounds.append(asyncio.create_task(self._round(settings.MEANWHILE_REPAIR_INTERVAL, work)))
        if settings.MEANWHILE_CLEANUP_INTERVAL:
            self._rounds.append(asyncio.create_task(self._round(settings.MEANWHILE_CLEANUP_INTERVAL, self._clean)))

    async def verified(self) -> bool:
        """Whether the history of the database has been looked at; waits a little for it. Whoever comes while the
        database is away has it tried again.
        """
        if self.journal.verified:
            return True
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())
        await asyncio.wait({self._looking}, timeout=PATIENCE)
        return self.journal.verified

    async def _look(self) -> None:
        """The writer looks before its first command: one that changes nothing."""
        looked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            self.journal.submit(presence.Lease(0, 0), looked.set_result)
        except ProtocolError as error:
            logger.info("not looked at: %s", error.code.name)
            return
        await looked

    async def detach(self) -> None:
        """Ends what `attach` started."""
        for task in self._rounds:
            task.cancel()
        await asyncio.gather(*self._rounds, return_exceptions=True)
        await self.wakeups.stop()
        self.loop = None

    def goodbye(self) -> None:
        """Sends everybody away, with returns spread over a few seconds; lets nobody in any more."""
        self.draining = True
        self.hub.end_watches()
        links: list[Leaving] = [*(session.link for session in self.hub.sessions.values()), *self.callers]
        for link in links:
            link.bye("restart", retry_after_ms=return_in())

    async def drain(self) -> None:
        """The end of this process: goodbye, and what waits is written."""
        self.goodbye()
        await self.detach()
        await asyncio.get_running_loop().run_in_executor(None, self.stop)

    def stop(self) -> None:
        """Ends the threads; what was submitted is written first."""
        self.journal.stop()
        settling = threading.Thread(target=lineage.close)
        settling.start()
        settling.join()
        self.reader.stop()
        self.shared.close()

    # --- commits -----------------------------------------------------------------------------------------------------

    def _committed(self, effects: Effects, finished: Finished) -> None:
        """In the writer thread. One call to the loop per transaction."""
        loop = self.loop
        if loop is None:
            for done, outcome in finished:
                tell(done, outcome)
            return
        try:
            loop.call_soon_threadsafe(self._tell, effects, finished)
        except RuntimeError:
            logger.info("the loop is closed; what was committed is found at the next connect")

    def _tell(self, effects: Effects, finished: Finished) -> None:
        self._pass_on(effects)
        for done, outcome in finished:
            tell(done, outcome)

    def _pass_on(self, effects: Effects) -> None:
        """On the loop: tells other processes and this one."""
        if effects:
            self.wakeups.say(effects)
            self._heard(effects)

    def announce(self, effects: Effects) -> None:
        """From any thread, after a commit made elsewhere in this process (`messaging.publish`, the admin)."""
        if effects:
            self._committed(effects, [])

    def _heard(self, effects: Effects) -> None:
        self.hub.deliver(effects)
        self.feeds.deliver(effects)
        if effects.streams:
            self.hub.run(repair.streams(self.hub, self.reader, only=effects.streams))
        self.hub.wake(effects.devices)
        here = [device for device in effects.devices if device in self.hub.sessions]
        if here:
            self.hub.run(repair.devices(self.hub, self.reader, only=here))

    def _joined(self, topics: Collection[str]) -> None:
        """What is said of these is heard from now on. What was committed after they were read, and before this, would
        else wait for the repair round.
        """
        streams = wakeups.streams_of(topics)
        if len(streams) < len(topics):
            self.feeds.repair()
        idle = not self._fresh
        self._fresh.update(streams)
        if idle and streams:
            self.hub.run(self._look_at_fresh())

    async def _look_at_fresh(self) -> None:
        """All that came together is read together."""
        while self._fresh:
            await asyncio.sleep(0)
            fresh = list(self._fresh)
            try:
                await repair.streams(self.hub, self.reader, only=fresh)
            finally:
                self._fresh.difference_update(fresh)

    # --- rounds ------------------------------------------------------------------------------------------------------

    async def _round(self, seconds: float, work: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except ProtocolError as error:
                logger.warning("a round was left out: %s", error.code.name)
            except Exception:
                logger.exception("a round failed")

    async def _repair(self) -> None:
        now = time.monotonic()
        for session in list(self.hub.sessions.values()):
            session.link.check(now)
        for caller in list(self.callers):
            caller.check(now)
        self.feeds.repair()
        await self.reader.ask(self._same_history)
        await repair.streams(self.hub, self.reader)
        await repair.devices(self.hub, self.reader)
        await repair.pulls(self.hub, self.reader)
        await repair.keys(self.callers, self.reader)
        if self.connections.common:
            await self.reader.ask(self.connections.settle)

    async def admit(self, app_id: int) -> bool:
        """Whether the app may have one more socket; then it is counted until `connections.leave`."""
        if not self.connections.enter(app_id):
            return False
        permitted = False
        try:
            permitted = not self.connections.common or await self.reader.ask(lambda: self.connections.permit(app_id))
        finally:
            if not permitted:
                self.connections.leave(app_id)
        return permitted

    def _same_history(self) -> None:
        """The writer looks at each new connection; a pooler may lead an open one to another server."""
        if sql.is_postgres():
            lineage.verify()

    async def _renew(self) -> None:
        if self.connections.common:
            await self.reader.ask(lambda: self.connections.settle(everything=True))
        for session in self.hub.sessions.values():
            self.journal.submit(presence.Lease(session.device_id, session.generation, session.state))
        for device in list(self.hub.watching):
            self.journal.submit(presence.Polling(device))
        effects = Effects()
        await self.reader.ask(lambda: presence.expire(effects, lease=settings.MEANWHILE_SILENCE + 3 * RENEW))
        self._pass_on(effects)
        await self.reader.ask(lineage.sync)
        if not self.wakeups.shared:
            self.neighbours = await self.reader.ask(self._look_for_neighbours)

    def _look_for_neighbours(self) -> bool:
        if self._since is None:
            self._since = sql.now()
        found = lineage.started_elsewhere() or presence.held_elsewhere(self.name, since=self._since)
        if found and not self.neighbours:
            logger.warning("another process works on this database, and wake-ups do not reach it: set REDIS_URL")
        return found

    async def _count_online(self) -> None:
        effects = Effects()
        await self.reader.ask(lambda: online.publish_due(effects))
        self._pass_on(effects)

    async def _tell_departures(self) -> None:
        effects = Effects()
        await self.reader.ask(lambda: whereabouts.tell_due(effects))
        self._pass_on(effects)

    async def _add_up_storage(self) -> None:
        # By the writer: a transaction of somebody else would have it wait.
        if await self.reader.ask(storage.due):
            self.journal.submit(storage.AddUp())

    async def _clean(self) -> None:
        effects = Effects()
        removed = await self.reader.ask(lambda: retention.clean(effects))
        if removed:
            logger.info(
                "removed %d processed, %d expired, %d of overflow", removed.processed, removed.expired, removed.overflow
            )
        self._pass_on(effects)
        await self.reader.ask(backlog.watch)


_current: Node | None = None
_lock = threading.Lock()


def current() -> Node:
    """This process's node, made at first use."""
    global _current
    with _lock:
        if _current is None:
            _current = Node()
        return _current


def running() -> Node | None:
    """This process's node if there is one; a command or a worker has none."""
    return _current


def reset(node: Node | None = None) -> None:
    """Puts another node in place: for tests and for forked processes."""
    global _current
    _current = node


def announce(effects: Effects) -> None:
    """After a commit made outside the Journal: tells this process's sessions, and other processes."""
    lineage.remember(effects.stored)
    node = _current
    if node and node.loop:
        node.announce(effects)
        return
    if effects and wakeups.shared_layer() is not None:
        try:
            installation = lineage.installation()
        except Exception as error:
            # Committed all the same: the servers find it in their next repair round.
            logger.warning("a wake-up was lost: %s", type(error).__name__)
        else:
            wakeups.announce_from_outside(effects, installation)
