"""Hands the app what is next in a lane, and writes down what became of it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from meanwhile_client.items import Gap, Latest, Message, Stopped, Transient
from meanwhile_client.lane import Item, Lane
from meanwhile_client.progress import Progress

log = logging.getLogger("meanwhile_client")

#: Async or plain. A plain one that takes long holds up the whole loop.
Handler = Callable[[Any], Any]


class Hands:
    """The app's handlers. What a handler raises is a result, or for the log; what the store raises is raised."""

    def __init__(
        self,
        progress: Progress,
        handlers: dict[str, Handler],
        on_gap: Callable[[Gap], Any] | None,
        on_stopped: Callable[[Stopped], Any] | None,
    ) -> None:
        self._progress = progress
        self._handlers = handlers
        self._on_gap = on_gap
        self._on_stopped = on_stopped

    async def over(self, lane: Lane, item: Item) -> None:
        if isinstance(item, Message):
            await self._message(lane, item)
        elif isinstance(item, Gap):
            await self._gap(lane, item)
        elif isinstance(item, Stopped):
            await self._stopped(item)
        else:
            await self._pass_on(item)

    async def _message(self, lane: Lane, message: Message) -> None:
        place = lane.place
        try:
            value = await self._call(message)
        except Exception as error:
            if self._is_next(place, message) and self._progress.failed(message, error):
                lane.reset(place)
                await self._stopped(Stopped(message.stream, message.offset, error))
        else:
            if self._is_next(place, message):
                self._progress.processed(message, value)

    def _is_next(self, place: object, message: Message) -> bool:
        """Whether the stream still waits for it: while its handler ran it may have been left, or set back."""
        now = self._progress.places.get(message.stream)
        return now is not None and now is place and now.done == message.offset - 1

    async def _gap(self, lane: Lane, gap: Gap) -> None:
        place = lane.place
        if self._on_gap:
            await self._tell(self._on_gap, gap)
        else:
            log.error("%s: %d to %d will not come: %s", gap.stream, gap.first, gap.last, gap.reason)
        now = self._progress.places.get(gap.stream)
        if gap.reason != "reset" and now is not None and now is place and gap.last > now.done:
            self._progress.go_on(gap.stream, gap.last)

    async def _stopped(self, stopped: Stopped) -> None:
        if self._on_stopped:
            await self._tell(self._on_stopped, stopped)
        else:
            at = (stopped.stream, stopped.offset, stopped.error)
            log.error("%s waits at %d, on which its handler failed: %s", *at)

    async def _pass_on(self, what: Latest | Transient) -> None:
        """Nobody is told what became of these: what a handler raises is for the app's log, and the device goes on."""
        try:
            await self._call(what)
        except Exception:
            log.exception("the handler of %s failed in %s", what.name, what.stream)
        if isinstance(what, Latest):
            self._progress.shown(what.stream, what.version)

    async def _tell(self, told: Callable[[Any], Any], what: Gap | Stopped) -> None:
        """It is told once: again would not help an app that cannot take it, and everything behind it would wait."""
        try:
            await result(told(what))
        except Exception:
            log.exception("%s could not be told of %s", getattr(told, "__name__", told), what)

    async def _call(self, what: Message | Latest | Transient) -> Any:
        handler = self._handlers.get(what.name)
        return await result(handler(what)) if handler else None


async def result(of: Any) -> Any:
    """What a call gave, async or plain."""
    return await of if inspect.isawaitable(of) else of
