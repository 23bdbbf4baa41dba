"""Requests that wait for a thread: whose client leaves meanwhile is not done, unless it changes something."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.conf import settings
from django.core import signals

from config.http import OneHopHandler
from messaging.live import node as live_node

PATH = "/robots.txt"
ORIGIN = "https://app.example.com"


class Busy:
    """A handler all of whose threads have something else to do, and what it began to do for its clients."""

    def __init__(self) -> None:
        self.handler = OneHopHandler()
        self.begun: list[str] = []
        self.sent: list[Any] = []
        self.free = threading.Event()
        self._others = [self.handler._pool.submit(self.free.wait, 30) for _ in range(settings.MEANWHILE_HTTP_THREADS)]
        # What waits for a thread is counted by the handler: as if these had come to it.
        self.handler._waiting = len(self._others)

    def ask(self, method: str, leaving: asyncio.Event) -> asyncio.Task[None]:
        heard = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            if message := next(heard, None):
                return message
            await leaving.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.sent.append(message)

        headers = [(b"origin", ORIGIN.encode())]
        scope = {"type": "http", "method": method, "path": PATH, "query_string": b"", "headers": headers}
        return asyncio.ensure_future(self.handler(scope, receive, send))

    async def idle(self) -> None:
        """Returns when the threads have done all that was queued."""
        self.free.set()
        loop = asyncio.get_running_loop()
        barrier = threading.Barrier(settings.MEANWHILE_HTTP_THREADS)
        pool = self.handler._pool
        await asyncio.gather(*(loop.run_in_executor(pool, barrier.wait, 30) for _ in range(barrier.parties)))


@pytest.fixture
async def busy(transactional_db: None) -> AsyncIterator[Busy]:
    node = live_node.Node()
    live_node.reset(node)
    made = Busy()
    begins: Callable[..., None] = lambda scope, **_: made.begun.append(scope["method"])  # noqa: E731
    signals.request_started.connect(begins)
    yield made
    await made.idle()
    signals.request_started.disconnect(begins)
    made.handler._pool.shutdown()
    await node.drain()
    live_node.reset(None)


async def test_what_only_asks_is_not_done_for_a_client_that_left(busy: Busy) -> None:
    leaving = asyncio.Event()
    asked = busy.ask("GET", leaving)

    leaving.set()
    await asyncio.wait_for(asked, 10)

    await busy.idle()
    assert (busy.begun, busy.sent) == ([], [])


async def test_what_changes_something_is_done_without_its_client(busy: Busy) -> None:
    leaving = asyncio.Event()
    asked = busy.ask("POST", leaving)

    leaving.set()
    await busy.idle()

    await asyncio.wait_for(asked, 10)
    assert busy.begun == ["POST"]


async def test_who_stays_in_the_queue_gets_an_answer(busy: Busy) -> None:
    asked = busy.ask("GET", asyncio.Event())

    busy.free.set()

    await asyncio.wait_for(asked, 10)
    assert (busy.begun, [message["type"] for message in busy.sent]) == (
        ["GET"],
        ["http.response.start", "http.response.body"],
    )


@pytest.mark.parametrize("listed", [True, False])
async def test_a_page_of_another_origin_can_read_that_there_are_too_many(
    busy: Busy, settings: Any, listed: bool
) -> None:
    """Else its browser tells it of a failed connection, and it does not know when to come back."""
    settings.MEANWHILE_ORIGINS = [ORIGIN] if listed else []
    settings.MEANWHILE_HTTP_WAITING = 0

    await asyncio.wait_for(busy.ask("GET", asyncio.Event()), 10)

    start, _ = busy.sent
    headers = dict(start["headers"])
    assert (start["status"], headers[b"retry-after"]) == (503, b"1")
    assert headers.get(b"access-control-allow-origin") == (ORIGIN.encode() if listed else None)
    assert (b"Retry-After" in headers.get(b"access-control-expose-headers", b"")) == listed
    assert headers[b"vary"] == b"Origin"
