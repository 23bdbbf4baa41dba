"""Django behind ASGI in one thread hop.

Django's own ASGIHandler hops between loop and threads several times a request: measured 209 pulls/s, one hop 957 and
more. The body is read on the loop first, so a client that sends slowly holds no thread.
A pull that has nothing to tell waits on the loop, without a thread (messaging/api/waiting.py), and is asked once more.
LIMIT: a streaming response is joined before it is sent; nothing here streams.
"""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, NamedTuple

from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import ASGIHandler
from django.db import connection
from django.http import HttpResponseBase
from django.urls import set_script_prefix

from messaging.api import cors, problems, waiting
from messaging.api.waiting import Waiting
from messaging.live import node
from messaging.protocol.errors import ProtocolError

#: Seconds a request waits where somebody else has locked SQLite, as long as a publish (log/journal.py: twice 3).
LOCKED = 6
HEALTH = frozenset({"/healthz", "/readyz"})


class Answer(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    content: bytes
    #: What for, if it need not go out yet.
    waiting: Waiting | None


class OneHopHandler(ASGIHandler):
    def __init__(self) -> None:
        self.load_middleware(is_async=False)
        self._pool = ThreadPoolExecutor(settings.MEANWHILE_HTTP_THREADS, "http", _wait_less_for_locks)
        #: Supervisors are answered also while all the others wait for the database: a restart would not mend it.
        self._health = ThreadPoolExecutor(1, thread_name_prefix="health")
        #: Requests that wait for a thread, and pulls that wait for news.
        self._waiting = 0
        self._polls = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await node.current().attach()
        body = await _body(receive)
        if body is None:
            return
        if isinstance(body, ProtocolError):
            await _problem(send, scope, body)
            return
        if scope["path"].startswith("/api/v1/") and not await node.current().verified():
            await _problem(send, scope, ProtocolError("unavailable"))
            return
        try:
            if self._waiting >= settings.MEANWHILE_HTTP_WAITING and scope["path"] not in HEALTH:
                raise ProtocolError("overloaded")
            answer = await self._ask(scope, body, receive)
            if answer and answer.waiting:
                if not await self._wait(receive, answer.waiting):
                    return
                # Let in already: all members of a room are woken by one message, and none of them is turned away.
                answer = await self._ask(waiting.again(scope), body, receive)
        except ProtocolError as error:
            await _problem(send, scope, error)
            return
        if answer:
            await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            await send({"type": "http.response.body", "body": answer.content})

    async def _ask(self, scope: Any, body: bytes, receive: Any) -> Answer | None:
        """The request in a thread, when one is free. None: it only asks, and its client left while it was in the queue.

        A client that asks again because an answer is slow, and leaves when it has one, costs nothing then. What changes
        something is done all the same: a page that says goodbye (`keepalive`) does not stay for the answer.
        """
        self._waiting += 1
        try:
            pool = self._health if scope["path"] in HEALTH else self._pool
            asked = asyncio.get_running_loop().run_in_executor(pool, self._respond, scope, body)
            if scope["method"] != "GET" or self._waiting <= settings.MEANWHILE_HTTP_THREADS:
                return await asked
            return await _unless_left(asked, receive)
        finally:
            self._waiting -= 1

    async def _wait(self, receive: Any, asked: Waiting) -> bool:
        """Waits for news, or for the time to be over; False if the client left. Raises `overloaded`."""
        if self._polls >= settings.MEANWHILE_POLLS:
            raise ProtocolError("overloaded")
        self._polls += 1
        news = asyncio.ensure_future(_news(asked))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({news, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return not leaving.done()
        finally:
            self._polls -= 1
            news.cancel()
            leaving.cancel()
            await asyncio.gather(news, leaving, return_exceptions=True)

    def _respond(self, scope: Any, body: bytes) -> Answer:
        """The whole request in this thread."""
        set_script_prefix(scope.get("root_path") or "/")
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, failed = self.create_request(scope, io.BytesIO(body))
        if failed is not None and problems.for_programs(scope["path"]):
            failed = problems.response(ProtocolError("invalid", "The request's line is not UTF-8."))
        response: HttpResponseBase = failed or self.get_response(request)
        content = b"".join(response)  # type: ignore[arg-type]
        if response.status_code == HTTPStatus.NO_CONTENT:
            # Django's, for nothing.
            del response["Content-Length"], response["Content-Type"]
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]
        headers += [(b"set-cookie", cookie.output(header="").encode().strip()) for cookie in response.cookies.values()]
        if not response.has_header("Content-Length") and response.status_code != HTTPStatus.NO_CONTENT:
            headers.append((b"content-length", str(len(content)).encode()))
        # Sends request_finished, which gives the database connection back.
        response.close()
        return Answer(response.status_code, headers, content, waiting.left(response))


def _wait_less_for_locks() -> None:
    """For the connection of this thread alone: who asks gives up sooner than other writers need to."""
    if connection.vendor == "sqlite":
        options = {**connection.settings_dict["OPTIONS"], "timeout": LOCKED}
        connection.settings_dict = {**connection.settings_dict, "OPTIONS": options}


async def _news(asked: Waiting) -> None:
    await node.current().hub.watch(asked.device_id, asked.entries, asked.seconds, everything=asked.everything)


async def _unless_left(asked: asyncio.Future[Answer], receive: Any) -> Answer | None:
    """The answer; None when the client leaves first: then what has not begun never will."""
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({asked, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return asked.result() if asked.done() else None
    finally:
        asked.cancel()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)


async def _left(receive: Any) -> None:
    """Returns when the client has left. The body has been read: nothing else can come."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Any) -> bytes | ProtocolError | None:
    """The request's body; None when the client left."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > settings.MEANWHILE_MAX_BODY:
            return ProtocolError("too_large", f"A body has at most {settings.MEANWHILE_MAX_BODY} bytes.")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def _problem(send: Any, scope: Any, error: ProtocolError) -> None:
    """A refusal that no view made: readable for whoever could read the view's."""
    response = problems.response(error)
    origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
    cors.share(response, origins[0] if origins else "")
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]
    headers.append((b"content-length", str(len(response.content)).encode()))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
