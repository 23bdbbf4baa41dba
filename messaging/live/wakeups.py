"""Wake-ups between processes over the channel layer: hints that shorten a wait, and may be lost (P10).

The only importer of the channel layer. One channel and one group membership per process and stream; groups are joined
again from time to time, since a layer may forget them (Redis FLUSHALL).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from channels.layers import InMemoryChannelLayer, get_channel_layer  # type: ignore[import-untyped]

from messaging.live.feeds import feed_topic, presence_topic
from messaging.log.effects import Effects

logger = logging.getLogger("meanwhile.wakeups")

#: A wake-up above this carries the heads alone.
SMALL = 64 * 1024
EVERYONE = "meanwhile.nodes"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Effects).decode


def shared_layer() -> Any | None:
    """The layer, if it reaches other processes; else None: this process tells itself directly."""
    layer = get_channel_layer()
    return None if layer is None or isinstance(layer, InMemoryChannelLayer) else layer


def group(stream_id: int) -> str:
    return topic_group(f"stream.{stream_id}")


def topic_group(topic: str) -> str:
    """The group of what services follow, or of a stream."""
    return f"meanwhile.{topic}"


def envelopes(effects: Effects, node: str) -> Iterable[tuple[str, dict[str, Any]]]:
    """(group, event) for what other processes need to know."""
    parts: dict[str, Effects] = {}
    for appended in effects.appended:
        parts.setdefault(group(appended.stream_id), Effects()).appended.append(appended)
    for value in effects.values:
        parts.setdefault(group(value.stream_id), Effects()).values.append(value)
    for passing in effects.passing:
        parts.setdefault(group(passing.stream_id), Effects()).passing.append(passing)
    for stream_id in effects.streams:
        parts.setdefault(group(stream_id), Effects()).streams.append(stream_id)
    for service_id in effects.feeds:
        parts.setdefault(topic_group(feed_topic(service_id)), Effects()).feeds.append(service_id)
    for app_id in effects.presences:
        parts.setdefault(topic_group(presence_topic(app_id)), Effects()).presences.append(app_id)
    if effects.devices:
        parts[EVERYONE] = Effects(devices=effects.devices)
    for name, part in parts.items():
        body = _encode(part)
        if len(body) > SMALL:
            slim = Effects(
                appended=[msgspec.structs.replace(one, items=[]) for one in part.appended], values=part.values[-50:]
            )
            body = _encode(slim)
        yield name, {"type": "meanwhile.wake", "node": node, "body": body}


async def announce(effects: Effects, node: str) -> None:
    """Tells other processes. Never raises: what is lost here is repaired there within the repair interval."""
    layer = shared_layer()
    if layer is None:
        return
    for name, event in envelopes(effects, node):
        try:
            await layer.group_send(name, event)
        except Exception as error:
            logger.warning("a wake-up was lost: %s", type(error).__name__)
            return


class Wakeups:
    """This process's ear and mouth on the layer."""

    def __init__(self, *, heard: Callable[[Effects], None]) -> None:
        self.node = uuid.uuid4().hex[:12]
        self._heard = heard
        self._layer = shared_layer()
        self._groups: set[str] = set()
        self._queue: asyncio.Queue[Effects | tuple[bool, str]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._channel = ""
        self.working = True

    async def start(self) -> None:
        if self._layer is None:
            return
        self._channel = await self._layer.new_channel("meanwhile")
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._speak())]
        await self._regroup()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def opened(self, streams: Iterable[int]) -> None:
        for stream in streams:
            self._enter(group(stream))

    def left(self, stream: int) -> None:
        self._leave(group(stream))

    def follow(self, topic: str) -> None:
        """Somebody here follows what services can follow."""
        self._enter(topic_group(topic))

    def unfollow(self, topic: str) -> None:
        self._leave(topic_group(topic))

    def _enter(self, name: str) -> None:
        self._groups.add(name)
        if self._layer:
            self._queue.put_nowait((True, name))

    def _leave(self, name: str) -> None:
        self._groups.discard(name)
        if self._layer:
            self._queue.put_nowait((False, name))

    def say(self, effects: Effects) -> None:
        if self._layer and self._queue.qsize() < 10_000:
            self._queue.put_nowait(effects)

    async def regroup(self) -> None:
        """Joins all groups again. Called from time to time."""
        if self._layer:
            await self._regroup()

    async def _regroup(self) -> None:
        assert self._layer
        try:
            await self._layer.group_add(EVERYONE, self._channel)
            for name in list(self._groups):
                await self._layer.group_add(name, self._channel)
            self.working = True
        except Exception as error:
            self.working = False
            logger.warning("the channel layer does not answer: %s", type(error).__name__)

    async def _speak(self) -> None:
        assert self._layer
        while True:
            said = await self._queue.get()
            try:
                if isinstance(said, Effects):
                    await announce(said, self.node)
                elif said[0]:
                    await self._layer.group_add(said[1], self._channel)
                elif said[1] not in self._groups:
                    await self._layer.group_discard(said[1], self._channel)
            except Exception as error:
                self.working = False
                logger.warning("the channel layer does not answer: %s", type(error).__name__)

    async def _listen(self) -> None:
        assert self._layer
        while True:
            try:
                event = await self._layer.receive(self._channel)
                if event.get("node") != self.node:
                    self._heard(_decode(event["body"]))
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self.working = False
                logger.warning("the channel layer does not answer: %s", type(error).__name__)
                await asyncio.sleep(0.2)
