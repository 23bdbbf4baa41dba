"""The hub: sessions by stream, on the event loop. Encodes once, hands to each; never awaits a send."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from messaging import failpoints
from messaging.live.reader import Reader, Together
from messaging.live.session import Session
from messaging.live.stream import LiveStream
from messaging.live.way import Way
from messaging.log import reading
from messaging.log.effects import Effects, NewValue
from messaging.log.journal import Journal
from messaging.log.presence import Departure
from messaging.log.reading import Asked, Entry, Range
from messaging.log.returns import Finished
from messaging.protocol import wire
from messaging.protocol.errors import ProtocolError
from messaging.protocol.frames import StatedPosition

logger = logging.getLogger("meanwhile.hub")

#: More take-overs of one device than this in as many seconds are refused (two tabs that fight).
TAKE_OVERS, TAKE_OVER_SECONDS = 3, 10.0
#: Ranges of one query: a connection's window each.
RANGES = 64
#: Newest values of one read.
VALUES = 64
#: Pulls of one device that wait at once.
WATCHES = 8


class Hub:
    def __init__(
        self,
        *,
        journal: Journal,
        reader: Reader,
        ring: int,
        page: int,
        opened: Callable[[Iterable[int]], None],
        left: Callable[[int], None],
        hold_timeout: float,
    ) -> None:
        """opened, left: told when the first who wants to hear of a stream comes and the last one goes (wake-ups)."""
        self.streams: dict[int, LiveStream] = {}
        self.sessions: dict[int, Session] = {}
        #: Waiting pulls by device, and what subscriptions (number, sum of the ids) those believe in that ask for all.
        self.watching: dict[int, dict[asyncio.Event, tuple[int, int] | None]] = {}
        self._watches_over = False
        self._journal = journal
        self._reader = reader
        self._ring = ring
        self._page = page
        self._opened = opened
        self._left = left
        self._hold_timeout = hold_timeout
        self._take_overs: dict[int, deque[float]] = {}
        self._refused: list[Way] = []
        self._ranges: dict[Asked, list[Way]] = {}
        self._together: Together[Asked, Range] = Together(reader, reading.read_ranges, most=RANGES)
        self._tasks: set[asyncio.Task[None]] = set()

    # --- sessions ----------------------------------------------------------------------------------------------------

    def may_take_over(self, device_id: int, now: float) -> bool:
        """Whether this device may open one more connection; counted only where one is open already.

        LIMIT: each process counts the take-overs that it sees, so n processes let through n times as many.
        """
        if device_id in self.sessions:
            self.taken_over(device_id, now)
        times = self._take_overs.get(device_id, ())
        return sum(time > now - TAKE_OVER_SECONDS for time in times) <= TAKE_OVERS

    def taken_over(self, device_id: int, now: float) -> None:
        """A connection here gives way to a newer one, here or at another process."""
        self._take_overs.setdefault(device_id, deque(maxlen=TAKE_OVERS + 1)).append(now)

    def register(self, session: Session, entries: list[Entry], positions: dict[str, StatedPosition]) -> None:
        """Takes a session in, whose welcome has been sent: an older one of the device ends, the return begins."""
        older = self.sessions.get(session.device_id)
        if older:
            if older.generation > session.generation:
                session.link.bye("superseded")
                return
            self.drop(older)
            older.link.bye("superseded")
        self.sessions[session.device_id] = session
        session.returned = lambda: self._returned(session)  # type: ignore[method-assign]
        session.pay = lambda: self._pay(session)  # type: ignore[method-assign]
        self._enter(session, entries)
        session.begin(entries, positions)
        self._after_begin(session)

    def join(self, session: Session, entry: Entry) -> None:
        """A session goes into one more stream; the answer has been sent."""
        if session.over or self._expelled(session, [entry]):
            return
        if entry.stream not in session.ways:
            self._enter(session, [entry])
        session.begin([entry], {})
        self._after_begin(session)

    def resume(self, session: Session, entries: list[Entry]) -> None:
        """A foreground notice has been answered: the return begins."""
        if self._expelled(session, entries):
            return
        session.pages = 0
        session.called_back = False
        missing = [entry for entry in entries if entry.stream not in session.ways]
        self._enter(session, missing)
        session.begin(entries)
        self._after_begin(session)

    def drop(self, session: Session) -> None:
        """The session ends; nothing more is sent."""
        session.over = True
        for name in list(session.ways):
            self.leave(session, name)
        if self.sessions.get(session.device_id) is session:
            del self.sessions[session.device_id]

    def expel(self, stream: LiveStream) -> None:
        """Another history of a stream: its sessions end and must come back to hear `reset`, what memory holds of it is
        forgotten.
        """
        stream.wake()
        for session in [way.session for way in stream.ways.values()]:
            self.drop(session)
            session.link.bye("restart", detail="The history of a stream is another one now.")
        if self.streams.get(stream.id) is stream:
            del self.streams[stream.id]
            self._left(stream.id)

    def _expelled(self, session: Session, entries: Iterable[Entry]) -> bool:
        """Whether an entry is of another history than the session's, which then ends."""
        for entry in entries:
            way = session.ways.get(entry.stream)
            if way and way.epoch != entry.epoch:
                self.expel(way.stream)
        return session.over

    def take_out(self, session: Session, name: str) -> None:
        """Somebody else took the device out of a stream: it is told."""
        if name in session.ways:
            self.leave(session, name)
            session.link.send(wire.frame("left", stream=name))

    def leave(self, session: Session, name: str) -> None:
        way = session.remove(name)
        if way:
            self._drop_if_unwanted(way.stream)
            # What it held of the window is the other streams' now, and no receipt will say so.
            session.pump()

    def _drop_if_unwanted(self, stream: LiveStream) -> None:
        if not stream.wanted and self.streams.get(stream.id) is stream:
            del self.streams[stream.id]
            self._left(stream.id)

    def _enter(self, session: Session, entries: Iterable[Entry]) -> None:
        entries = list(entries)
        for entry, stream in zip(entries, self._live(entries), strict=True):
            session.add(stream, entry)

    def _live(self, entries: Iterable[Entry]) -> list[LiveStream]:
        """The streams of entries, as new as these; those that nobody wanted until now are opened."""
        fresh, streams = [], []
        for entry in entries:
            stream = self.streams.get(entry.stream_id)
            if stream and stream.epoch != entry.epoch:
                self.expel(stream)
                stream = None
            if stream is None:
                stream = self.streams[entry.stream_id] = LiveStream(
                    entry.stream_id,
                    entry.stream,
                    epoch=entry.epoch,
                    head=entry.head,
                    tail=entry.tail,
                    version=entry.version,
                    ring=self._ring,
                )
                fresh.append(entry.stream_id)
            closing = entry.closed and not stream.closed
            stream.closed = stream.closed or entry.closed
            if stream.seen(entry.head) or closing:
                # News to everybody else here as well: the repair round would not find a difference any more.
                stream.wake()
                for way in list(stream.ways.values()):
                    way.session.pump()
            streams.append(stream)
        if fresh:
            self._opened(fresh)
        return streams

    def _after_begin(self, session: Session) -> None:
        session.pump()
        self.owe(session)
        if session.holding:
            asyncio.get_running_loop().call_later(self._hold_timeout, self._end_holds, session, session.holds())

    def _end_holds(self, session: Session, holds: dict[Way, int]) -> None:
        for way in session.end_holds(holds):
            logger.info("hold timed out device=%s stream=%s", session.device, way.stream.name)

    def _returned(self, session: Session) -> None:
        self._submit(Finished(session.device_id, session.generation, session.pages))

    def _submit(self, body: Any) -> None:
        try:
            self._journal.submit(body)
        except ProtocolError as error:
            # Monitoring only: the timeline's row stays open.
            logger.warning("not written: %s (%s)", type(body).__name__, error.code.name)

    def gone(self, session: Session) -> None:
        """The connection ended: the presence of this generation is cleared."""
        self.drop(session)
        self._submit(Departure(session.device_id, session.generation))

    # --- waiting pulls -----------------------------------------------------------------------------------------------

    async def watch(self, device_id: int, entries: list[Entry], seconds: float, *, everything: bool = True) -> None:
        """Returns when something came for one of these streams, or for the device itself, or after so many seconds.

        everything: these are all that the device has.
        entries: as they were read when there was nothing to tell. What came since wakes at once, too: a stream that is
        new here is looked at once more, and for the others the repair round is the latest.
        """
        if self._watches_over:
            return
        watcher = asyncio.Event()
        streams = self._live(entries)
        subscriptions = (len(entries), sum(entry.subscription_id for entry in entries))
        mine = self.watching.setdefault(device_id, {})
        mine[watcher] = subscriptions if everything else None
        # One device does not take the places of all: its oldest gets its answer.
        for older in list(mine)[:-WATCHES]:
            older.set()
        for stream, entry in zip(streams, entries, strict=True):
            stream.watchers.add(watcher)
            if stream.head > entry.head or stream.version > entry.version or stream.closed != entry.closed:
                watcher.set()
        try:
            async with asyncio.timeout(seconds):
                await watcher.wait()
        except TimeoutError:
            pass
        finally:
            for stream in streams:
                stream.watchers.discard(watcher)
                self._drop_if_unwanted(stream)
            mine.pop(watcher, None)
            if not mine:
                self.watching.pop(device_id, None)

    def wake(self, devices: Iterable[int]) -> None:
        """Ends the waiting of these devices' pulls."""
        for device in list(devices):
            for watcher in self.watching.get(device, ()):
                watcher.set()

    def end_watches(self) -> None:
        """Ends the waiting of all pulls; no other will wait, one that was let in a moment ago included."""
        self._watches_over = True
        self.wake(self.watching)

    # --- what was committed ------------------------------------------------------------------------------------------

    def deliver(self, effects: Effects) -> None:
        """Hands on what a transaction changed. Lost, doubled or late calls cost time, never a message."""
        for left in effects.left:
            # At once, not after a look: what is published from now on is not for this device.
            session_ = self.sessions.get(left.device_id)
            if session_:
                self.take_out(session_, left.stream)
        touched: dict[int, Session] = {}
        for appended in effects.appended:
            stream = self.streams.get(appended.stream_id)
            if stream and stream.extend(appended):
                stream.wake()
                for way in stream.ways.values():
                    touched[way.session.device_id] = way.session
        for session in touched.values():
            session.pump()
        if touched:
            failpoints.hit("publish.after_push")
        if effects.values:
            self._deliver_values(effects.values)
        for passing in effects.passing:
            stream = self.streams.get(passing.stream_id)
            if stream:
                for way in list(stream.ways.values()):
                    way.session.passing(passing.text)
        for moved in effects.advanced:
            stream = self.streams.get(moved.stream_id)
            way_ = stream.ways.get(moved.device_id) if stream else None
            if way_:
                way_.session.advanced(way_, moved.processed)
                way_.session.pump()
        for receipt in effects.received:
            stream = self.streams.get(receipt.stream_id)
            way_ = stream.ways.get(receipt.device_id) if stream else None
            if way_:
                way_.session.ack(way_.stream.name, receipt.upto)
                way_.session.pump()

    def _deliver_values(self, values: Iterable[NewValue]) -> None:
        here = [(stream, value) for value in values if (stream := self.streams.get(value.stream_id))]
        behind: set[LiveStream] = set()
        for stream, value in here:
            if value.version > stream.version + 1:
                # An update of another key was not heard of, and the repair round would not see it any more.
                behind.add(stream)
            stream.version = max(stream.version, value.version)
        for stream in behind:
            for way in stream.ways.values():
                self.owe(way.session)
        for stream, value in here:
            stream.wake()
            for way in list(stream.ways.values()):
                way.session.news(value)

    # --- reads -------------------------------------------------------------------------------------------------------

    def fetch(self, way: Way, after: int, upto: int) -> None:
        """Reads a range for a way; the same range asked for by many is read once, many ranges in one query."""
        asked = Asked(way.stream.id, after, upto, min(self._page, max(way.session.window.room, 1)))
        waiting = self._ranges.get(asked)
        if waiting is not None:
            waiting.append(way)
            return
        self._ranges[asked] = [way]
        self._together.ask(asked).add_done_callback(partial(self._fetched, asked))

    def _fetched(self, asked: Asked, answer: asyncio.Future[Range]) -> None:
        ways = self._ranges.pop(asked)
        if answer.cancelled() or answer.exception():
            # The database is away: the ways ask again at the next repair round.
            self._refused.extend(ways)
            return
        for way in ways:
            way.session.fetched(way, answer.result())

    def ask_again(self) -> None:
        """Ways whose read the database refused try once more."""
        ways, self._refused = self._refused, []
        for way in ways:
            way.fetching = False
            way.session.pump()
        for session in self.sessions.values():
            if session.values.owing:
                self._pay(session)

    def owe(self, session: Session) -> None:
        """The session is to send the newest values that its device has not acknowledged."""
        session.owe()
        self._pay(session)

    def _pay(self, session: Session) -> None:
        if session.values.owing and not session.values.paying:
            session.values.paying = True
            self.run(self._read_owed(session))

    async def _read_owed(self, session: Session) -> None:
        """A page at a time, while the transport takes it: what a client does not read stays in the database (P8)."""
        values = session.values
        try:
            while values.owing and not session.over and not session.link.blocked:
                owed, debts = values.owed(), values.debts
                found = await self._reader.ask(partial(reading.unread_values, owed, after=owed, limit=VALUES))
                if debts == values.debts and not session.over:
                    values.pay(found, complete=sum(map(len, found.values())) < VALUES)
        finally:
            values.paying = False

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine on the loop and keeps hold of it; a refusal by the database is left to the repair round."""

        async def guarded() -> None:
            try:
                await work
            except ProtocolError as error:
                logger.warning("left to the repair round: %s", error.code.name)

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
