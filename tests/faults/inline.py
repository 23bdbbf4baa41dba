"""A server in one thread, without time: the real node, hub, sessions, consumers, Journal and database; faked are the
threads, the transport and the clock. What is under way stands still until it is let go on.

The loop runs only between two steps, and the database is asked only while it stands still: Django gives a running loop
a connection of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from apps_registry.devices import issue_token
from messaging import failpoints
from messaging.consumers.device import DeviceConsumer
from messaging.live import hub as live_hub
from messaging.live import node as live_node
from messaging.live import repair
from messaging.log import lineage
from messaging.log.effects import Effects
from messaging.log.journal import Command, Done, Finished, Journal

#: Small enough that every bound is met all the time.
SETTINGS = {
    "MEANWHILE_WINDOW": 4,
    "MEANWHILE_RING": 8,
    "MEANWHILE_PAGE": 3,
    "MEANWHILE_GRACE": 0,
    "MEANWHILE_FRAME_RATE": 10**6,
    "MEANWHILE_FRAME_BURST": 10**6,
    "CHANNEL_LAYERS": {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    "REDIS_URL": "",
}
SCOPE = {"type": "websocket", "path": "/ws/device", "headers": [], "subprotocols": ["meanwhile.v1.json"]}


_timelines = itertools.count(1)


class Crash(BaseException):
    """The process is killed here. No Exception: nothing in the code may catch it."""


class Loop(asyncio.SelectorEventLoop):
    """Its clock stands still until somebody moves it."""

    moment = 1000.0

    def time(self) -> float:
        return self.moment

    @property
    def idle(self) -> bool:
        return not self._ready  # type: ignore[attr-defined]


class InlineJournal(Journal):
    """The Journal without its thread: what waits is written as one group when it is let."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands_waiting: list[Command] = []

    def start(self) -> None:
        lineage.verify()
        self.verified = True

    def stop(self, timeout: float = 10) -> None:
        pass

    def submit(self, body: Any, done: Done | None = None, *, direct: bool = False) -> None:
        self.commands_waiting.append(Command(body, done, direct))

    def write(self) -> None:
        batch, self.commands_waiting = self.commands_waiting, []
        self._commit(batch)


class InlineReader:
    """Reads that wait until they are let through."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []

    def ask(self, read: Callable[[], Any]) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append((read, future))
        return future

    def let_through(self) -> None:
        read, future = self.waiting.pop(0)
        if future.cancelled():
            return
        try:
            future.set_result(read())
        except Exception as error:
            future.set_exception(error)

    def stop(self) -> None:
        pass


class InlineNode(live_node.Node):
    async def attach(self) -> None:
        self.loop = asyncio.get_running_loop()


class Connection:
    """One device's WebSocket to the process, as the wire sees it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._open: asyncio.Future[None] | None = None
        #: Frames on their way to the device.
        self.frames: list[dict[str, Any]] = []
        self.over = False
        self._inbox.put_nowait({"type": "websocket.connect"})
        self.task = process.loop.create_task(DeviceConsumer()(SCOPE, self._inbox.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        if self._process.crashed:
            return
        if self._open is not None:
            await self._open
        if message["type"] == "websocket.send":
            self.frames.append(json.loads(message["text"]))
        elif message["type"] == "websocket.close":
            self.over = True

    def say(self, frame: dict[str, Any]) -> None:
        self._inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    def hang_up(self) -> None:
        self.unblock()
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1006})

    def block(self) -> None:
        """The transport takes nothing."""
        if self._open is None:
            self._open = self._process.loop.create_future()

    def unblock(self) -> None:
        if self._open is not None and not self._open.done():
            self._open.set_result(None)
        self._open = None


class Process:
    """A server process, until it is killed; then another one takes its place."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.crashed = False
        #: What other processes have committed and this one has not heard of yet.
        self.wire: list[Effects] = []
        self._settings = override_settings(**SETTINGS)
        self._settings.enable()
        self._faked = pytest.MonkeyPatch()
        self._fake()
        self.loop.set_exception_handler(self._raised)
        self.start()
        #: Another process on the same database.
        self.other = InlineJournal(committed=self._heard_elsewhere, limit=10**6, batch=1)

    def _fake(self) -> None:
        self._faked.setattr(live_node, "Journal", InlineJournal)
        self._faked.setattr(live_node, "Reader", InlineReader)
        self._faked.setattr(live_hub, "TAKE_OVERS", 10**9)
        # Nobody pulls the plug here: that the disk is waited for, the kill tests and `readyz` see to.
        self._faked.setattr(os, "fsync", lambda descriptor: None)
        self.put_back()

    def put_back(self) -> None:
        """An older database was put back. SQLite shows it by itself; PostgreSQL by another timeline, which a savepoint
        cannot give it.
        """
        origin = f"cluster/{next(_timelines)}"
        self._faked.setattr(lineage, "_origin", lambda: origin)

    def start(self) -> None:
        """A fresh process: whatever the old one held in memory is gone."""
        self.crashed = False
        self.live_on()
        self.node = InlineNode()
        self.journal: InlineJournal = self.node.journal  # type: ignore[assignment]
        self.reader: InlineReader = self.node.reader  # type: ignore[assignment]
        live_node.reset(self.node)
        self.run(self.node.attach())

    def dispose(self) -> None:
        live_node.reset(None)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.settle()
        self.loop.close()
        self._faked.undo()
        self._settings.disable()

    @staticmethod
    def _raised(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and not isinstance(error, Crash):
            loop.default_exception_handler(context)

    def live_on(self) -> None:
        """No failpoint kills it."""
        self._faked.setattr(failpoints, "hit", lambda name: None)

    def crash_at(self, failpoint: str) -> None:
        """The process dies when it gets there."""

        def hit(name: str) -> None:
            if name == failpoint:
                self.crashed = True
                raise Crash

        self._faked.setattr(failpoints, "hit", hit)

    # --- going on ----------------------------------------------------------------------------------------------------

    def settle(self, *, reads: bool = True) -> None:
        """Lets everything happen that needs no time; reads only if they are let through."""
        for _ in range(1000):
            if self.crashed:
                return
            if not self.loop.idle:
                self.run(asyncio.sleep(0))
            elif self.journal.commands_waiting:
                with contextlib.suppress(Crash):
                    self.journal.write()
            elif reads and self.reader.waiting:
                self.reader.let_through()
            else:
                return
        raise AssertionError("it does not come to rest")

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def pass_time(self, seconds: float) -> None:
        self.loop.moment += seconds
        self.run(asyncio.sleep(0))
        self.settle(reads=False)

    def repair(self) -> None:
        """The repair round."""

        async def round() -> None:
            await repair.streams(self.node.hub, self.node.reader)
            await repair.devices(self.node.hub, self.node.reader)

        task = self.loop.create_task(round())
        self.settle()
        assert task.done()
        task.result()

    # --- doing -------------------------------------------------------------------------------------------------------

    def connect(self) -> Connection:
        return Connection(self)

    def submit(self, body: Any, *, elsewhere: bool) -> Any:
        """A command through the Journal of this process or of another one. → its outcome, None if the process died."""
        outcomes: list[Any] = []
        if elsewhere:
            self.other.submit(body, outcomes.append)
            self.other.write()
        else:
            self.journal.submit(body, outcomes.append)
            self.settle(reads=False)
        return outcomes[0] if outcomes else None

    def _heard_elsewhere(self, effects: Effects, finished: Finished) -> None:
        self.wire.append(effects)
        for done, outcome in finished:
            done(outcome)

    def push(self, effects: Effects) -> None:
        """Out to the devices with it, at once."""
        self.node.hub.deliver(effects)
        for _ in range(10):
            self.run(asyncio.sleep(0))

    def hear(self, effects: Effects) -> None:
        """A wake-up arrives."""
        self.loop.call_soon(self.node._heard, effects)
        self.settle(reads=False)


def token_of(device: Any) -> str:
    return issue_token(device=device, life=3600)[0]
