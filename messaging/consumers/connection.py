"""A WebSocket connection as the session's link: a send never waits, a blocked transport holds up nobody else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from messaging.protocol import wire
from messaging.protocol.codes import CODES
from messaging.protocol.errors import ProtocolError

logger = logging.getLogger("meanwhile.sockets")
Send = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]

#: Answers that may wait for a blocked transport; a client that asks on without reading is cut off.
MAX_WAITING = 1000


class _Rest(Awaitable[None]):
    """The rest of a coroutine that was driven once and is waiting for a future."""

    def __init__(self, work: Coroutine[Any, Any, None], waiting_for: Any) -> None:
        self._work = work
        self._waiting_for = waiting_for

    def __await__(self) -> Generator[Any, Any, None]:
        waiting_for = self._waiting_for
        while True:
            try:
                value = yield waiting_for
            except BaseException as error:
                step, argument = self._work.throw, error
            else:
                step, argument = self._work.send, value  # type: ignore[assignment]
            try:
                waiting_for = step(argument)
            except StopIteration:
                return


class Connection:
    """Sends at once where the transport takes it; else a task of this connection's own sends on, in order.

    on_open: called when a blocked transport takes again.
    """

    def __init__(self, send: Send, *, on_open: Callable[[], None], on_over: Callable[[], None]) -> None:
        self._send = send
        self._on_open = on_open
        self._on_over = on_over
        self._waiting: deque[dict[str, Any]] = deque()
        self._task: asyncio.Task[None] | None = None
        self.over = False
        self.blocked_since: float | None = None

    @property
    def blocked(self) -> bool:
        return self.blocked_since is not None

    def send(self, text: str) -> None:
        """One frame, now or in its turn."""
        if not self.over:
            self._pass({"type": "websocket.send", "text": text})

    def error(self, error: ProtocolError, re: int | None = None) -> None:
        self.send(wire.error_frame(error, re))

    def bye(self, code: str, *, detail: str = "", retry_after_ms: int = 0) -> None:
        """Says why and whether to come back, and closes. Once."""
        if self.over:
            return
        known = CODES[code]
        close = known.close or 4501
        self.send(
            wire.frame(
                "bye",
                code=code,
                reason=detail or known.title,
                reconnect=close < 4500,
                retry_after_ms=retry_after_ms,
            )
        )
        self._pass({"type": "websocket.close", "code": close, "reason": code})
        self.over = True
        self._on_over()

    def _pass(self, message: dict[str, Any]) -> None:
        if self.blocked:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(message)
            elif not self.over:
                self._waiting.clear()
                self.bye("too_slow")
            return
        work = self._send(message)
        try:
            waiting_for = work.send(None)
        except StopIteration:
            return
        except Exception as error:
            # The client is gone; its `disconnect` follows.
            logger.debug("a send failed: %s", type(error).__name__)
            return
        self.blocked_since = time.monotonic()
        self._task = asyncio.get_running_loop().create_task(self._go_on(_Rest(work, waiting_for)))

    async def _go_on(self, rest: Awaitable[None]) -> None:
        try:
            await rest
            while self._waiting:
                await self._send(self._waiting.popleft())
        except Exception as error:
            logger.debug("a send failed: %s", type(error).__name__)
            self._waiting.clear()
        finally:
            self.blocked_since = None
            self._task = None
        if not self.over:
            self._on_open()

    def dispose(self) -> None:
        self.over = True
        self._waiting.clear()
        if self._task:
            self._task.cancel()
