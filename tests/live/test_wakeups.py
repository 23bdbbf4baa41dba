"""The end of the wake-ups, with a channel layer that does not let go."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest
from channels.layers import BaseChannelLayer
from pytest_django import Settings

from messaging.live.wakeups import PATIENCE, Wakeups

#: Tells that the layer is at it, and that it may end.
at_work: asyncio.Event
released: asyncio.Event


class Deaf(BaseChannelLayer):  # type: ignore[misc]
    """Loses the first cancellation of each call, as redis-py may before Python 3.12."""

    async def new_channel(self, prefix: str = "") -> str:
        return "channel"

    async def group_add(self, group: str, channel: str) -> None:
        pass

    async def receive(self, channel: str) -> Any:
        await asyncio.Event().wait()

    async def group_send(self, group: str, message: Any) -> None:
        at_work.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


class Stuck(Deaf):
    """Never ends, as an answer of a Redis that stands still."""

    async def group_send(self, group: str, message: Any) -> None:
        while not released.is_set():
            await super().group_send(group, message)


@pytest.fixture(autouse=True)
def events() -> None:
    global at_work, released
    at_work, released = asyncio.Event(), asyncio.Event()


async def name() -> str:
    return "installation"


async def started(settings: Settings, layer: type[Deaf]) -> Wakeups:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.{layer.__name__}"}}
    wakeups = Wakeups(identify=name, heard=lambda effects: None, joined=lambda topics: None)
    await wakeups.start()
    await at_work.wait()
    return wakeups


async def test_a_cancellation_that_is_lost_is_said_again(settings: Settings) -> None:
    before = asyncio.all_tasks()
    wakeups = await started(settings, Deaf)

    await asyncio.wait_for(wakeups.stop(), PATIENCE + 2)

    assert asyncio.all_tasks() == before


async def test_the_end_waits_for_a_layer_that_never_ends_but_not_for_ever(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    wakeups = await started(settings, Stuck)
    begin = time.monotonic()

    await wakeups.stop()
    took = time.monotonic() - begin
    released.set()
    await wakeups.stop()

    assert PATIENCE <= took < PATIENCE + 2
    assert asyncio.all_tasks() == {asyncio.current_task()}
