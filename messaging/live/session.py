"""A session: one connection of a device. Sends what is next in each stream, never skips, stops when the window is full.

No I/O of its own: text goes to a `Link`, ranges that memory does not have come from the hub.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from messaging.live.link import Batch, Link
from messaging.live.stream import LiveStream
from messaging.live.values import Values
from messaging.live.way import Way
from messaging.log.effects import Item, NewValue
from messaging.log.presence import Here
from messaging.log.reading import Entry, Range
from messaging.protocol import rules, wire
from messaging.protocol.frames import StatedPosition
from messaging.protocol.rules import Hole
from messaging.protocol.window import Window


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
        #: How often it left a stream.
        self.departures = 0
        self.values = Values(link, self.ways)
        self.over = False
        #: Pages pulled over HTTP during the present return, and whether the return is still under way.
        self.pages = 0
        self.returning = False
        #: A foreground notice came by another way than this connection: the return is to begin here, too.
        self.called_back = False
        self._fetch = fetch

    # --- streams -----------------------------------------------------------------------------------------------------

    def add(self, stream: LiveStream, entry: Entry) -> Way:
        """A way for a stream; nothing flows before `begin`."""
        way = self.ways[entry.stream] = Way(self, stream, entry)
        stream.ways[self.device_id] = way
        return way

    def remove(self, name: str) -> Way | None:
        way = self.ways.pop(name, None)
        if way:
            self.departures += 1
            way.lane.forget()
            if way.stream.ways.get(self.device_id) is way:
                del way.stream.ways[self.device_id]
        return way

    @property
    def memberships(self) -> tuple[int, int]:
        """How many subscriptions it follows, and the sum of their ids: for comparing."""
        return len(self.ways), sum(way.subscription_id for way in self.ways.values())

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
        way.version = max(way.version, entry.version)
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

    def ack(self, name: str, upto: int) -> None:
        """A receipt, above the head as if for the head: the window opens."""
        way = self.ways.get(name)
        if way:
            way.lane.ack(min(upto, way.stream.head))

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
        late = [way for way, hold in holds.items() if way.held and way.hold == hold and way.current]
        for way in late:
            self.release(way)
        return late

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
        batch = Batch(self.link)
        for way in list(self.ways.values()):
            while items := self._take(way):
                for item in items:
                    if self.window.room <= 0:
                        break
                    batch.add(way, item)
                if way.replay_to is not None and way.lane.next > way.replay_to:
                    batch.send()
                    self._caught_up(way)
                if self.link.blocked:
                    break
            if way.stream.closed:
                batch.send()
                self._tell_closing(way)
        batch.send()
        self.values.send()
        if self.values.owing and not self.link.blocked:
            self.pay()

    def _take(self, way: Way) -> list[Item] | None:
        """The next items of a stream that may go out now; asks for those that memory does not have."""
        room = self.window.room
        if way.held or way.fetching or room <= 0 or way.drained:
            return None
        if way.replay_to is not None:
            # What is live comes after `caught_up`.
            room = min(room, way.replay_to - way.lane.next + 1)
        items = way.stream.recent(way.lane.next, room)
        now = time.time()
        # By this machine's clock it may be past its time: the database, whose clock counts, says so or sends it.
        if items is None or items[0].expires <= now:
            way.fetching = True
            self._fetch(way, way.lane.next - 1, way.stream.head)
            return None
        for place, item in enumerate(items):
            if item.expires <= now:
                return items[:place]
        return items

    def fetched(self, way: Way, found: Range) -> None:
        """A range the hub read for us. It may be late: only what is next counts."""
        way.fetching = False
        if not way.current:
            return
        batch = Batch(self.link)
        parts: list[Item | Hole] = [*found.items, *found.holes]
        if found.holes:
            parts.sort(key=_beginning)
        for part in parts:
            if not isinstance(part, Item):
                # After a rewind it may lie above what is next: then it is read again in its turn.
                if part.from_offset <= way.lane.next <= part.to_offset and not way.held:
                    batch.send()
                    self.link.send(wire.gap_frame(way.stream.name, way.lane.next, part.to_offset, part.reason))
                    way.lane.skip(part.to_offset)
                continue
            if part.offset != way.lane.next:
                continue
            if self.window.room <= 0 or way.held:
                break
            if way.replay_to is not None and part.offset > way.replay_to:
                batch.send()
                self._caught_up(way)
            batch.add(way, part)
        batch.send()
        self._caught_up(way)
        self.pump()

    def _caught_up(self, way: Way) -> None:
        if way.replay_to is not None and way.lane.next > way.replay_to:
            self.link.send(wire.frame("caught_up", stream=way.stream.name, upto=way.replay_to))
            way.replay_to = None

    def _tell_closing(self, way: Way) -> None:
        if not way.closing_told and not way.held and way.drained:
            way.closing_told = True
            self.link.send(wire.frame("stream_closed", stream=way.stream.name, head=way.stream.head))

    # --- latest and transient ----------------------------------------------------------------------------------------

    def news(self, value: NewValue) -> None:
        """A new newest value: sent in the foreground, else left."""
        if rules.pushed(rules.LATEST, self.state):
            self.values.news(value)

    def owe(self) -> None:
        """After a return, or when an update was missed: values the device has not acknowledged are to be sent."""
        if rules.pushed(rules.LATEST, self.state):
            self.values.owe()

    def pay(self) -> None:
        """Set by the hub: has what is owed read."""

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
                self.values.forget()
            else:
                self.values.begin_anew()


def _beginning(part: Item | Hole) -> int:
    return part.offset if isinstance(part, Item) else part.from_offset
