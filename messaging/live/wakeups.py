"""Wake-ups between processes over the channel layer: hints that shorten a wait, and may be lost (P10).

The only importer of the channel layer. One channel and one group membership per process and stream. Each process sends
itself a beat: while it hears that, wake-ups work; when it is deaf, what would be said is dropped instead of piled up,
and after a while the layer is put up anew. A layer that answers proves nothing: redis-py subscribes again by itself
after a lost connection, but not after one that only seems to be open.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

import msgspec
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer  # type: ignore[import-untyped]

from messaging.live.feeds import feed_topic, presence_topic
from messaging.log.effects import Effects

logger = logging.getLogger("meanwhile.wakeups")

#: A wake-up above this carries the heads alone.
SMALL = 64 * 1024
#: Streams of one transaction that are told one by one; more are told to everybody in one wake-up.
FEW = 16
#: Wake-ups that may wait to be sent; beyond, they are dropped.
MOST = 2000
#: Seconds between two beats, without one until the process counts as deaf, and until the layer is put up anew.
BEAT, DEAF, ANEW = 1.0, 3.5, 8.0
EVERYONE = "nodes"
#: Seconds a call of the layer may take, and the end of all of them.
PATIENCE = 3.0
#: Seconds in which a process that is no server tells nothing, after Redis has held it up.
SILENCE = 10.0
#: Seconds until a task that was cancelled, and goes on, is cancelled again.
AGAIN = 0.5
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Effects).decode


def shared_layer() -> Any | None:
    """The layer, if it reaches other processes; else None: this process tells itself directly."""
    layer = get_channel_layer()
    return None if layer is None or isinstance(layer, InMemoryChannelLayer) else layer


def stream_topic(stream_id: int) -> str:
    return f"stream.{stream_id}"


def streams_of(topics: Iterable[str]) -> list[int]:
    return [int(topic.removeprefix("stream.")) for topic in topics if topic.startswith("stream.")]


def group(installation: str, topic: str) -> str:
    """Ids mean something inside one installation only: several may share a Redis."""
    return f"{installation}.{topic}"


def envelopes(effects: Effects, installation: str) -> Iterable[tuple[str, bytes]]:
    """(group, body) for what other processes need to know."""
    parts: dict[str, Effects] = {}
    for appended in effects.appended:
        parts.setdefault(stream_topic(appended.stream_id), Effects()).appended.append(appended)
    for value in effects.values:
        parts.setdefault(stream_topic(value.stream_id), Effects()).values.append(value)
    for stream_id in effects.streams:
        parts.setdefault(stream_topic(stream_id), Effects()).streams.append(stream_id)
    for receipt in effects.received:
        parts.setdefault(stream_topic(receipt.stream_id), Effects()).received.append(receipt)
    if len(parts) > FEW:
        together = Effects(
            appended=effects.appended, values=effects.values, streams=effects.streams, received=effects.received
        )
        parts = {EVERYONE: together}
    for topic, part in parts.items():
        yield group(installation, topic), _body(part)
    for passing in effects.passing:
        # Stored nowhere: whatever its size, it goes as it is or not at all.
        yield group(installation, stream_topic(passing.stream_id)), _encode(Effects(passing=[passing]))
    for service_id in effects.feeds:
        yield group(installation, feed_topic(service_id)), _encode(Effects(feeds=[service_id]))
    for app_id in effects.presences:
        yield group(installation, presence_topic(app_id)), _encode(Effects(presences=[app_id]))
    if effects.devices or effects.left:
        yield group(installation, EVERYONE), _encode(Effects(devices=effects.devices, left=effects.left))


def _body(part: Effects) -> bytes:
    body = _encode(part)
    if len(body) <= SMALL:
        return body
    return _encode(
        Effects(
            appended=[msgspec.structs.replace(one, items=[]) for one in part.appended],
            streams=[*{*part.streams, *(value.stream_id for value in part.values)}],
            received=part.received,
        )
    )


async def announce(effects: Effects, installation: str, node: str = "") -> None:
    """Tells other processes. Raises what the layer raises: what is lost, their repair rounds find."""
    layer = shared_layer()
    if layer is None:
        return
    async with asyncio.timeout(PATIENCE):
        for name, body in envelopes(effects, installation):
            await layer.group_send(name, {"type": "meanwhile.wake", "node": node, "body": body})


_silent_until = 0.0


def announce_from_outside(effects: Effects, installation: str) -> None:
    """The same from a process that is no server, as a command or a worker. Never raises.

    It is the caller of `messaging.publish` who waits: for a Redis that stands still, once and not at each message.
    """
    global _silent_until
    if time.monotonic() < _silent_until:
        return
    try:
        async_to_sync(announce)(effects, installation)
    except Exception as error:
        _silent_until = time.monotonic() + SILENCE
        logger.warning("a wake-up was lost: %s", type(error).__name__)


class Wakeups:
    """This process's ear and mouth on the layer.

    identify: the installation's name, from the database; may fail and is asked again. heard: other processes' effects.
    joined: topics that were entered and whose groups this process is in; what was said before, it may not have heard.
    """

    def __init__(
        self,
        *,
        identify: Callable[[], Awaitable[str]],
        heard: Callable[[Effects], None],
        joined: Callable[[Collection[str]], None],
    ) -> None:
        self.node = uuid.uuid4().hex[:12]
        self._identify = identify
        self._heard = heard
        self._joined = joined
        self._layer = shared_layer()
        self._installation = ""
        self._channel = ""
        self._wanted: set[str] = set()
        self._member: set[str] = set()
        #: Entered since `joined` was last told.
        self._unheard: set[str] = set()
        self._changed = asyncio.Event()
        self._queue: asyncio.Queue[Effects] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._listener: asyncio.Task[None] | None = None
        self._last_beat = 0.0
        self._over = False
        self.working = True

    @property
    def shared(self) -> bool:
        """Whether there is a layer that other processes are on."""
        return self._layer is not None

    async def start(self) -> None:
        if self._layer is None:
            return
        self._last_beat = time.monotonic()
        self._tasks = [asyncio.create_task(work()) for work in (self._speak, self._keep, self._beat)]

    async def stop(self) -> None:
        """Ends what `start` began, in bounded time whatever Redis does.

        A cancellation may be lost: redis-py sends with `asyncio.wait_for`, which before Python 3.12 swallows one that
        comes when the sending is just done. And the layer unsubscribes when it is cancelled, for which a Redis that
        stands still never has an answer. So it is said again, and no task begins with anything new.
        """
        self._over = True
        running = {*self._tasks, *({self._listener} if self._listener else ())}
        end = time.monotonic() + PATIENCE
        while running and time.monotonic() < end:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=AGAIN)
        if running:
            logger.warning("%d tasks of the channel layer did not end", len(running))

    def opened(self, streams: Iterable[int]) -> None:
        """The first sessions of these streams have come; `joined` tells when what is published is heard."""
        self._enter([stream_topic(stream) for stream in streams])

    def left(self, stream: int) -> None:
        self._leave(stream_topic(stream))

    def follow(self, topic: str) -> None:
        """Somebody here follows what services can follow."""
        self._enter([topic])

    def unfollow(self, topic: str) -> None:
        self._leave(topic)

    def _enter(self, topics: Collection[str]) -> None:
        if self._layer is None:
            self._joined(topics)
            return
        self._wanted.update(topics)
        self._unheard.update(topics)
        self._changed.set()

    def _leave(self, topic: str) -> None:
        self._wanted.discard(topic)
        self._changed.set()

    def say(self, effects: Effects) -> None:
        if self._layer and self.working and self._queue.qsize() < MOST:
            self._queue.put_nowait(effects)

    def _set_working(self, working: bool) -> None:
        if working != self.working:
            self.working = working
            if working:
                logger.info("wake-ups between processes work again")
            else:
                logger.warning("no wake-ups between processes: deliveries wait for the repair round")
                while not self._queue.empty():
                    self._queue.get_nowait()

    # --- tasks -------------------------------------------------------------------------------------------------------

    async def _speak(self) -> None:
        while not self._over:
            effects = await self._queue.get()
            try:
                await announce(effects, self._installation, self.node)
            except Exception as error:
                logger.debug("a wake-up was lost: %s", type(error).__name__)

    async def _listen(self, channel: str) -> None:
        assert self._layer
        while True:
            try:
                event = await self._layer.receive(channel)
                if event["node"] != self.node:
                    self._heard(_decode(event["body"]))
                elif event["type"] == "meanwhile.beat":
                    self._last_beat = time.monotonic()
                    self._set_working(True)
            except Exception as error:
                logger.warning("a wake-up made no sense: %s", type(error).__name__)

    async def _keep(self) -> None:
        """Keeps this process in the groups of the streams that have sessions here."""
        while not self._over:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._settle()
            except Exception as error:
                logger.debug("groups could not be joined: %s", type(error).__name__)
                await asyncio.sleep(BEAT)
                self._changed.set()

    async def _settle(self) -> None:
        assert self._layer
        if not self._installation:
            self._installation = await self._identify()
        if not self._channel:
            async with asyncio.timeout(PATIENCE):
                channel = await self._layer.new_channel("meanwhile")
                await self._layer.group_add(group(self._installation, EVERYONE), channel)
                await self._layer.group_add(self.node, channel)
            self._channel = channel
            self._listener = asyncio.create_task(self._listen(channel))
        entered = frozenset(self._unheard)
        for topic in self._wanted - self._member:
            async with asyncio.timeout(PATIENCE):
                await self._layer.group_add(group(self._installation, topic), self._channel)
            self._member.add(topic)
        for topic in self._member - self._wanted:
            async with asyncio.timeout(PATIENCE):
                await self._layer.group_discard(group(self._installation, topic), self._channel)
            self._member.discard(topic)
        self._unheard -= entered
        if entered:
            self._joined(entered)

    async def _beat(self) -> None:
        assert self._layer
        while not self._over:
            self._changed.set()
            silent = time.monotonic() - self._last_beat
            if silent > DEAF:
                self._set_working(False)
            if silent > ANEW:
                await self._put_up_anew()
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._layer.group_send(self.node, {"type": "meanwhile.beat", "node": self.node})
            except Exception as error:
                logger.debug("a beat was lost: %s", type(error).__name__)
            await asyncio.sleep(BEAT)

    async def _put_up_anew(self) -> None:
        """Closes the layer's connections and joins everything again."""
        assert self._layer
        self._last_beat = time.monotonic()
        if self._listener:
            self._listener.cancel()
        self._channel = ""
        self._member.clear()
        self._unheard.update(self._wanted)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._layer.flush()
        except Exception as error:
            logger.debug("the layer did not close: %s", type(error).__name__)
