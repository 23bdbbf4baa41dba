"""Database reads for the event loop: a few threads with connections of their own, answers come back to the loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from django.db import DatabaseError, InterfaceError, connection

from messaging.protocol.errors import ProtocolError

logger = logging.getLogger("meanwhile.reader")
T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


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


class Together(Generic[K, V]):
    """Reads of one kind in groups: those asked for while one is under way are answered together by the next.

    read: in a reader thread, the answers in order; an exception as an answer fails its own question alone.
    """

    def __init__(self, reader: Reader, read: Callable[[list[K]], Sequence[V | Exception]], *, most: int) -> None:
        self._reader = reader
        self._read = read
        self._most = most
        self._waiting: list[tuple[K, asyncio.Future[V]]] = []
        self._task: asyncio.Task[None] | None = None

    def ask(self, question: K) -> asyncio.Future[V]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[V] = loop.create_future()
        self._waiting.append((question, future))
        if self._task is None:
            self._task = loop.create_task(self._run())
        return future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._answer(batch)
        finally:
            self._task = None

    async def _answer(self, batch: list[tuple[K, asyncio.Future[V]]]) -> None:
        questions = [question for question, _ in batch]
        try:
            answers: Sequence[V | Exception] = await self._reader.ask(lambda: self._read(questions))
        except ProtocolError as error:
            answers = [error] * len(batch)
        except Exception as error:
            logger.exception("a group of reads failed")
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


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
