"""Database reads for the event loop: a few threads with connections of their own, answers come back to the loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, connection

from messaging.protocol.errors import ProtocolError

logger = logging.getLogger("meanwhile.reader")
T = TypeVar("T")


class Reader:
    def __init__(self, *, threads: int = 2) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="meanwhile-reader")

    def ask(self, read: Callable[[], T]) -> asyncio.Future[T]:
        """The result of `read`, run in a reader thread. Raises `unavailable` when the database does not answer."""
        return asyncio.get_running_loop().run_in_executor(self._pool, _guarded, read)

    def stop(self) -> None:
        """Ends the threads; each closes its own connection."""
        everyone = threading.Barrier(self._threads)
        closing = [self._pool.submit(_close, everyone) for _ in range(self._threads)]
        for future in closing:
            future.result(10)
        self._pool.shutdown(wait=True)


def _close(everyone: threading.Barrier) -> None:
    """In a reader thread; the barrier makes each thread take one."""
    everyone.wait(10)
    connection.close()


def _guarded(read: Callable[[], T]) -> T:
    try:
        return read()
    except (DatabaseError, InterfaceError) as error:
        connection.close()
        logger.warning("a read failed: %s", type(error).__name__)
        raise ProtocolError("unavailable") from error
