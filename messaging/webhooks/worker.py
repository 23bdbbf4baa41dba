"""The worker: a lane per webhook that has something due, so many POSTs at once in all, one per webhook.

One at a time per webhook: while a receiver answers it hears in order, and one that is slow waits for itself alone.
Several workers may run, on one machine or on many: each delivery is taken by one (`claims.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import httpx
from django.db import DatabaseError, InterfaceError, connection

from messaging.webhooks import claims, sending

logger = logging.getLogger("meanwhile.webhooks")

T = TypeVar("T")


class Worker:
    """concurrency: POSTs at once. interval: seconds between two looks, and what a delivery may be late by."""

    def __init__(self, *, concurrency: int, interval: float) -> None:
        self._interval = interval
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        self._stopping = asyncio.Event()
        self._lanes: dict[int, asyncio.Task[None]] = {}
        # One connection: what is done in the database takes a millisecond, what is done outside takes seconds.
        self._database = ThreadPoolExecutor(1, thread_name_prefix="meanwhile-webhooks")
        self.delivered = 0
        self.failed = 0

    def stop(self) -> None:
        """Takes nothing more; `run` returns when the attempts under way are through."""
        self._stopping.set()

    async def run(self, *, once: bool = False) -> None:
        """Delivers until it is stopped; once: until nothing is due any more."""
        loop = asyncio.get_running_loop()
        # Names are resolved there: a resolver that hangs for one host must not keep the others waiting.
        loop.set_default_executor(ThreadPoolExecutor(self._concurrency, thread_name_prefix="meanwhile-names"))
        try:
            async with sending.client() as client:
                while not self._stopping.is_set():
                    found = await self._look(client, strict=once)
                    if once:
                        if not found:
                            break
                        await asyncio.gather(*self._lanes.values())
                    else:
                        await self._pause()
                await asyncio.gather(*self._lanes.values(), return_exceptions=True)
        finally:
            await self._ask(lambda: connection.close())
            self._database.shutdown()

    async def _look(self, client: httpx.AsyncClient, *, strict: bool) -> bool:
        """Opens lanes where something is due. → whether anything is."""
        try:
            found = await self._ask(claims.waiting)
        except (DatabaseError, InterfaceError) as error:
            if strict:
                raise
            logger.warning("the database does not answer: %s", type(error).__name__)
            return False
        for webhook in found:
            if webhook not in self._lanes:
                lane = self._lanes[webhook] = asyncio.create_task(self._deliver(webhook, client, strict=strict))
                lane.add_done_callback(lambda _, webhook=webhook: self._lanes.pop(webhook, None))  # type: ignore[misc]
        return bool(found)

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), self._interval)
        except TimeoutError:
            pass

    async def _deliver(self, webhook: int, client: httpx.AsyncClient, *, strict: bool) -> None:
        """One after the other until nothing is due, or one fails: then the next look is soon enough."""
        try:
            while not self._stopping.is_set():
                async with self._slots:
                    if self._stopping.is_set() or not await self._one(webhook, client):
                        return
        except (DatabaseError, InterfaceError) as error:
            # What was posted and could not be written down is posted again when its lease is over.
            if strict:
                raise
            logger.warning("webhook=%d: the database does not answer: %s", webhook, type(error).__name__)
        except Exception:
            logger.exception("webhook=%d: the lane failed", webhook)
            if strict:
                raise

    async def _one(self, webhook: int, client: httpx.AsyncClient) -> bool:
        """Takes a delivery, posts it, writes down the answer. → whether to go on."""
        job = await self._ask(lambda: claims.take(webhook))
        if job is None:
            return False
        answer = await sending.post(client, job)
        await self._record(job, answer)
        if answer.delivered:
            self.delivered += 1
        else:
            self.failed += 1
        return answer.delivered

    async def _record(self, job: claims.Job, answer: claims.Answer) -> None:
        """Once more on a new connection if the one that was there has died during the POST: what is not written down is
        posted again. Recorded twice is recorded once.
        """
        try:
            await self._ask(lambda: claims.record(job, answer))
        except (DatabaseError, InterfaceError):
            await self._ask(lambda: claims.record(job, answer))

    def _ask(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._database, _guarded, work)


def _guarded(work: Callable[[], T]) -> T:
    try:
        return work()
    except (DatabaseError, InterfaceError):
        connection.close()
        raise
