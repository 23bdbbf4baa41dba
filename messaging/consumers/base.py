"""What both sockets share: lean dispatch, the first frame in time, errors as frames, abuse ends the connection."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, ClassVar

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from apps_registry.errors import RegistryError
from messaging.consumers.connection import Connection
from messaging.live import node
from messaging.protocol import wire
from messaging.protocol.bucket import Bucket
from messaging.protocol.errors import ProtocolError
from messaging.protocol.frames import FrameError

logger = logging.getLogger("meanwhile.sockets")

SUBPROTOCOL = "meanwhile.v1.json"
MAX_HELLO = 4096
MAX_MALFORMED = 20


class SocketConsumer(AsyncWebsocketConsumer):
    """A consumer without a channel-layer channel of its own and without Channels' clean-up of database connections at
    every event (3–4 times the cost of a frame): the hub hands out what happens, and nothing here touches the database
    on the event loop's side.
    """

    #: Frames a second and at once; None: no bound (services are bounded by the Journal).
    frame_rate: ClassVar[bool] = True
    #: Whose connection is counted.
    app_id: int | None = None
    #: What must be done before the next frame is read.
    first: Coroutine[Any, Any, None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.node = node.current()
        await self.node.attach()
        self.task = asyncio.current_task()
        self.link = Connection(send, on_open=self.opened, on_over=self._end)
        self.last_heard = time.monotonic()
        self._malformed = 0
        self._bucket = Bucket(
            rate=settings.MEANWHILE_FRAME_RATE, burst=settings.MEANWHILE_FRAME_BURST, now=self.last_heard
        )
        try:
            await self._serve(receive, send)
        except asyncio.CancelledError:
            if not self.link.over:
                raise
        finally:
            self.gone()
            if self.app_id is not None:
                self.node.connections.leave(self.app_id)
            self.link.dispose()

    async def admit(self, app_id: int) -> None:
        """Counts this connection of the app, or raises `too_many_frames`."""
        if not await self.node.admit(app_id):
            raise ProtocolError("too_many_frames", "The app has all the connections it may have.")
        self.app_id = app_id

    def _end(self) -> None:
        """The connection was ended by somebody else than its own task: that stops waiting for frames."""
        if self.task and self.task is not asyncio.current_task():
            self.task.cancel()

    async def _serve(self, receive: Any, send: Any) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        if not origin_allowed(self.scope):
            logger.info("refused a socket of a page from %r: MEANWHILE_ORIGINS does not list it", origin(self.scope))
            await send({"type": "websocket.close", "code": 4507})
            return
        offered = self.scope.get("subprotocols") or []
        chosen = SUBPROTOCOL if SUBPROTOCOL in offered else None
        await send({"type": "websocket.accept", "subprotocol": chosen})
        if offered and not chosen:
            self.link.bye("not_the_protocol", detail=f"Offer {SUBPROTOCOL}.")
            return
        if self.node.draining:
            self.link.bye("restart", retry_after_ms=node.return_in())
            return
        try:
            async with asyncio.timeout(settings.MEANWHILE_HELLO_TIMEOUT):
                first = await receive()
        except TimeoutError:
            # Not final: on a slow network a hello is late, and a client that took it for its own fault would stay away.
            self.link.bye("silent", detail="No hello in time.")
            return
        if first["type"] != "websocket.receive" or not await self._first(first):
            return
        while not self.link.over:
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            self._take(message)
            if self.first is not None:
                work, self.first = self.first, None
                await work

    async def _first(self, message: Any) -> bool:
        """Whether the first frame let somebody in."""
        text = message.get("text")
        if text is None or wire.octets(text) > MAX_HELLO:
            self.link.bye("hello_expected", detail=f"A text frame of at most {MAX_HELLO} bytes.")
            return False
        try:
            await self.hello(text)
        except (ProtocolError, RegistryError) as error:
            code = error.code if isinstance(error, RegistryError) else error.code.name
            self._refuse(code, error.detail)
        except Exception:
            logger.exception("a hello could not be answered")
            self._refuse("internal", "")
        if self.node.draining:
            # The goodbye came while this hello was being answered, and did not know of it.
            self.link.bye("restart", retry_after_ms=node.return_in())
        return not self.link.over

    def _refuse(self, code: str, detail: str) -> None:
        """A refusal ends the connection: with its own close code, or that of what it stands for."""
        ends = {"unavailable": "overloaded", "internal": "overloaded"}
        if code in {"bad_json", "too_deep", "invalid", "unknown_type"}:
            code = "hello_expected"
        self.link.bye(ends.get(code, code), detail=detail, retry_after_ms=1000 if code in ends else 0)

    def _take(self, message: Any) -> None:
        self.last_heard = now = time.monotonic()
        if self.frame_rate and not self._bucket.take(now):
            self.link.bye("too_many_frames")
            return
        text = message.get("text")
        try:
            if text is None:
                raise FrameError("invalid", "Frames are text.")
            limit = settings.MEANWHILE_MAX_FRAME
            if wire.octets(text) > limit:
                raise FrameError("too_large", f"A frame has at most {limit} bytes.")
            self.frame(text)
        except ProtocolError as error:
            self.link.error(error, getattr(error, "re", None))
            if isinstance(error, FrameError):
                self._malformed += 1
                if self._malformed >= MAX_MALFORMED:
                    self.link.bye("not_the_protocol", detail="Too many malformed frames.")
        except Exception:
            logger.exception("a frame could not be handled")
            self.link.error(ProtocolError("internal"))

    async def hello(self, text: str) -> None:
        """Lets the client in, or raises."""
        raise NotImplementedError

    def frame(self, text: str) -> None:
        """One frame after the hello."""
        raise NotImplementedError

    def opened(self) -> None:
        """The transport takes again."""

    def gone(self) -> None:
        """The connection has ended, whoever ended it."""


def origin(scope: Any) -> str:
    text: bytes = dict(scope["headers"]).get(b"origin", b"")
    return text.decode("latin-1")


def origin_allowed(scope: Any) -> bool:
    """An Origin that is present must be the server's own or listed; native apps send none (02-architecture, traps)."""
    told = origin(scope)
    if not told or told in settings.MEANWHILE_ORIGINS:
        return True
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
    # Which of the two the page came by, a proxy in front may know better.
    return told.lower() in {f"http://{host}", f"https://{host}"}
