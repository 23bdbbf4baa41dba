"""A session: one connection of a device. Sends what is next in each stream, never skips, stops when the window is full.

No I/O of its own: text goes to a `Link`, ranges that memory does not have come from the hub.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from messaging.live.stream import LiveStream
from messaging.log.effects import Item, NewValue
from messaging.log.presence import Here
from messaging.log.reading import Entry, Range, Value
from messaging.protocol import rules, wire
from messaging.protocol.frames import StatedPosition
from messaging.protocol.window import Lane, Window

#: Bytes of one frame: well below what daphne drops (1 MiB).
FRAME = 192 * 1024


class Link(Protocol):
    """The connection as the session sees it."""

    def send(self, text: str) -> None: ...

    @property
    def blocked(self) -> bool:
        """Whether the transport takes nothing at this moment."""
        ...

    def bye(self, code: str, *, detail: str = "", retry_after_ms: int = 0) -> None:
        """Says why, and closes."""
        ...

    def check(self, now: float) -> None:
        """Once a round: silence, stalls and tokens that ran out (seconds, monotonic)."""
        ...


class Way:
    """How one stream reaches one session."""

    __slots__ = (
        "closing_told",
        "cut",
        "epoch",
        "fetching",
        "held",
        "hold",
        "lane",
        "owed_after",
        "processed",
        "received",
        "replay_to",
        "session",
        "stream",
        "subscription_id",
        "versions",
    )

    def __init__(self, session: Session, stream: LiveStream, entry: Entry) -> None:
        self.session = session
        self.stream = stream
        self.subscription_id = entry.subscription_id
        self.epoch = entry.epoch
        self.lane = Lane(session.window, after=entry.head)
        self.processed = entry.processed
        #: What the device had acknowledged when this way began: sent again, it is marked.
        self.received = entry.received
        self.cut = entry.head
        self.held = False
        #: Counts the holds: a time-out is of one, not of those that follow.
        self.hold = 0
        self.fetching = False
        self.replay_to: int | None = None
        self.closing_told = False
        #: Newest version sent of each key.
        self.versions: dict[str, int] = {}
        #: Values above this version are to be read and sent; None: nothing is owed.
        self.owed_after: int | None = None


class Session:
    def __init__(
        self,
        *,
        link: Link,
        device_id: int,
        device: str,
        app_id: int,
        here: Here,
        mode: str,
        window: Window,
        fetch: Callable[[Way, int, int], None],
        token_version: int = 1,
    ) -> None:
        self.link = link
        self.device_id = device_id
        self.device = device
        self.app_id = app_id
        self.token_version = token_version
        self.generation = here.generation
        self.state = here.state
        self.state_seq = here.state_seq
        self.mode = mode
        self.window = window
        self.ways: dict[str, Way] = {}
        self.over = False
        #: Pages pulled over HTTP during the present return, and whether the return is still under way.
        self.pages = 0
        self.returning = False
        #: Whether values are owed, how often it was said that they are, and whether they are being read.
        self.owing = False
        self.debts = 0
        self.paying = False
        self._fetch = fetch
        self._values: dict[tuple[int, str], tuple[NewValue, int]] = {}

    # --- streams -----------------------------------------------------------------------------------------------------

    def add(self, stream: LiveStream, entry: Entry) -> Way:
        """A way for a stream; nothing flows before `begin`."""
        way = self.ways[entry.stream] = Way(self, stream, entry)
        stream.ways[self.device_id] = way
        return way

    def remove(self, name: str) -> Way | None:
        way = self.ways.pop(name, None)
        if way:
            way.lane.forget()
            if way.stream.ways.get(self.device_id) is way:
                del way.stream.ways[self.device_id]
        return way

    def begin(self, entries: Iterable[Entry], positions: dict[str, StatedPosition] | None = None) -> None:
        """A return, by connect, join or foreground notice: from here the live path owns what is > cut.

        positions: what the client stated in its hello; None for a return on the same connection.
        """
        for entry in entries:
            way = self.ways.get(entry.stream)
            if way:
                self._begin(way, entry, None if positions is None else positions.get(entry.stream), positions is None)
        self.returning = True
        self._check_return()

    def _begin(self, way: Way, entry: Entry, stated: StatedPosition | None, same_connection: bool) -> None:
        way.processed = max(way.processed, entry.processed)
        way.cut = entry.head
        start = rules.start_of_return(
            processed=entry.processed,
            head=entry.head,
            epoch=entry.epoch,
            stated_processed=stated.processed if stated else None,
            stated_epoch=stated.epoch if stated else "",
        )
        if start.reset:
            self.link.send(wire.gap_frame(entry.stream, 1, entry.processed, "reset"))
        if self.mode == "replay":
            after = max(way.lane.acked if same_connection else 0, start.after)
            if same_connection:
                after = min(after, way.cut)
                way.received = max(way.received, entry.received)
            way.lane.rewind(after)
            way.replay_to = way.cut
        else:
            way.lane.own_pull(way.cut)
            way.held = self.mode == "hold" and entry.processed < way.cut
            way.hold += 1
        self._caught_up(way)

    # --- what happens ------------------------------------------------------------------------------------------------

    def ack(self, name: str, upto: int) -> Way | None:
        """A receipt: the window opens. None if the session has no such stream."""
        way = self.ways.get(name)
        if way:
            way.lane.ack(upto)
        return way

    def under_way(self, stream: str, offset: int) -> bool:
        """Whether this message was sent here and is not acknowledged. From any thread."""
        way = self.ways.get(stream)
        return way is not None and way.lane.holds(offset)

    def advanced(self, way: Way, processed: int) -> None:
        """Results moved the cursor: a hold may end, a return may be complete."""
        if processed > way.processed:
            way.processed = processed
            way.lane.ack(processed)
        if way.held and way.processed >= way.cut:
            self.release(way)
        self._check_return()

    def release(self, way: Way) -> None:
        """Ends the hold: what was withheld flows in order."""
        way.held = False
        way.lane.skip(way.processed)
        self.pump()

    @property
    def holding(self) -> bool:
        return any(way.held for way in self.ways.values())

    def holds(self) -> dict[Way, int]:
        """The holds there are, for `end_holds`."""
        return {way: way.hold for way in self.ways.values() if way.held}

    def end_holds(self, holds: Mapping[Way, int]) -> list[Way]:
        """These holds have lasted too long. → the ways released."""
        late = [way for way, hold in holds.items() if way.held and way.hold == hold and self._current(way)]
        for way in late:
            self.release(way)
        return late

    def _current(self, way: Way) -> bool:
        return not self.over and self.ways.get(way.stream.name) is way

    def _check_return(self) -> None:
        if self.returning and all(way.processed >= way.cut for way in self.ways.values()):
            self.returning = False
            self.returned()

    def returned(self) -> None:
        """Set by the hub: the timeline learns that everything missed has been processed."""

    # --- sending -----------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Sends what may be sent now, several messages in one frame. Cheap when there is nothing."""
        if self.over or self.link.blocked:
            return
        batch: list[str] = []
        size = 0
        for way in list(self.ways.values()):
            while items := self._take(way):
                for item in items:
                    text = wire.again(item.text) if item.offset <= way.received else item.text
                    batch.append(text)
                    size += len(text)
                    way.lane.sent(item.offset, len(text))
                    if size > FRAME:
                        self._send(batch)
                        size = 0
                if self.link.blocked:
                    break
                if way.replay_to is not None and way.lane.next > way.replay_to:
                    self._send(batch)
                    size = 0
                    self._caught_up(way)
            if way.stream.closed:
                self._send(batch)
                self._tell_closing(way)
        self._send(batch)
        self._send_values()
        if self.owing and not self.link.blocked:
            self.pay()

    def _send(self, batch: list[str]) -> None:
        if len(batch) == 1:
            self.link.send(wire.message_frame(batch[0]))
        elif batch:
            self.link.send(wire.messages_frame(batch))
        batch.clear()

    def _take(self, way: Way) -> list[Item] | None:
        """The next items of a stream that may go out now; asks for those that memory does not have."""
        room = self.window.room
        if way.held or way.fetching or room <= 0 or way.lane.next > way.stream.head:
            return None
        items = way.stream.recent(way.lane.next, room)
        # By this machine's clock it may be past its time: the database, whose clock counts, says so or sends it.
        if items is None or items[0].expires <= time.time():
            items = None
            way.fetching = True
            self._fetch(way, way.lane.next - 1, way.stream.head)
        return items

    def fetched(self, way: Way, found: Range) -> None:
        """A range the hub read for us. It may be late: only what is next counts."""
        way.fetching = False
        if not self._current(way):
            return
        batch: list[str] = []
        size = 0
        parts: list[Any] = sorted([*found.items, *found.holes], key=lambda part: part[0])
        for part in parts:
            if not isinstance(part, Item):
                # After a rewind it may lie above what is next: then it is read again in its turn.
                if part.from_offset <= way.lane.next <= part.to_offset and not way.held:
                    self._send(batch)
                    self.link.send(wire.gap_frame(way.stream.name, way.lane.next, part.to_offset, part.reason))
                    way.lane.skip(part.to_offset)
                continue
            if part.offset != way.lane.next:
                continue
            if self.window.room <= 0 or way.held:
                break
            text = wire.again(part.text) if part.offset <= way.received else part.text
            batch.append(text)
            way.lane.sent(part.offset, len(text))
            size += len(text)
            if size > FRAME:
                self._send(batch)
                size = 0
        self._send(batch)
        self._caught_up(way)
        self.pump()

    def _caught_up(self, way: Way) -> None:
        if way.replay_to is not None and way.lane.next > way.replay_to:
            self.link.send(wire.frame("caught_up", stream=way.stream.name, upto=way.replay_to))
            way.replay_to = None

    def _tell_closing(self, way: Way) -> None:
        if not way.closing_told and not way.held and way.lane.next > way.stream.head:
            way.closing_told = True
            self.link.send(wire.frame("stream_closed", stream=way.stream.name, head=way.stream.head))

    # --- latest and transient ----------------------------------------------------------------------------------------

    def news(self, value: NewValue) -> None:
        """A new newest value: sent in the foreground, conflated while the connection takes nothing, else left."""
        if not rules.pushed(rules.LATEST, self.state):
            return
        place = (value.stream_id, value.value)
        waiting = self._values.pop(place, None)
        self._values[place] = (value, waiting[1] + 1 if waiting else 1)
        self._send_values()

    def _send_values(self) -> None:
        while self._values and not self.link.blocked:
            place = next(iter(self._values))
            value, times = self._values.pop(place)
            way = self.ways.get(value.stream)
            if way and value.version > way.versions.get(value.value, 0):
                way.versions[value.value] = value.version
                text = wire.latest_item(
                    stream=value.stream,
                    name=value.name,
                    key=value.key,
                    version=value.version,
                    coalesced=times,
                    time=value.time,
                    service=value.service,
                    payload=value.payload,
                )
                self.link.send(wire.latest_frame(text))

    def owe(self) -> None:
        """After a return, or when an update was missed: values the device has not acknowledged are to be sent."""
        if rules.pushed(rules.LATEST, self.state):
            self.debts += 1
            for way in self.ways.values():
                if way.stream.version:
                    way.owed_after = 0
                    self.owing = True

    def owed(self) -> dict[int, int]:
        """By subscription: values above this version are to be read. They are read as the transport takes them."""
        return {way.subscription_id: way.owed_after for way in self.ways.values() if way.owed_after is not None}

    def pay(self) -> None:
        """Set by the hub: has what is owed read, for `unread`."""

    def unread(self, found: Mapping[int, Sequence[Value]], *, complete: bool) -> None:
        """Values that are owed: one per key, unless a newer one went out. What the transport does not take stays owed.

        complete: these are all there are.
        """
        if self.over:
            return
        for way in self.ways.values():
            if way.owed_after is None:
                continue
            for value in found.get(way.subscription_id, ()):
                if self.link.blocked:
                    return
                self._repay(way, value)
        if complete:
            self._forgive()

    def _forgive(self) -> None:
        self.owing = False
        for way in self.ways.values():
            way.owed_after = None

    def _repay(self, way: Way, value: Value) -> None:
        way.owed_after = value.version
        if value.version > way.versions.get(value.value, 0):
            way.versions[value.value] = value.version
            self._values.pop((value.stream_id, value.value), None)
            self.link.send(wire.latest_frame(value.text))

    def passing(self, text: str) -> None:
        """A transient message: now or never."""
        if rules.pushed(rules.TRANSIENT, self.state) and not self.link.blocked and not self.over:
            self.link.send(wire.transient_frame(text))

    def set_state(self, state: str, state_seq: int) -> None:
        """The one setter of the state; entering the background forgets what `latest` values wait."""
        self.state_seq = state_seq
        if state != self.state:
            self.state = state
            if state != rules.FOREGROUND:
                self._values.clear()
                self._forgive()
            else:
                for way in self.ways.values():
                    way.versions.clear()
