"""A phone's link and a database as plain lists: the session's edges, faked."""

from __future__ import annotations

import json
from typing import Any

from messaging.live.session import Session
from messaging.live.stream import LiveStream
from messaging.live.way import Way
from messaging.log.effects import Appended, Item
from messaging.log.presence import Here
from messaging.log.reading import Entry, Range
from messaging.protocol import wire
from messaging.protocol.rules import Hole
from messaging.protocol.window import Window

FOREVER = 4e12


class FakeLink:
    """Collects what the session sends; can be blocked."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.blocked = False
        #: After how many more frames it blocks; None: never by itself.
        self.blocked_after: int | None = None
        self.byes: list[str] = []

    def send(self, text: str) -> None:
        self.frames.append(json.loads(text))
        if self.blocked_after is not None:
            self.blocked_after -= 1
            self.blocked = self.blocked_after <= 0

    def bye(self, code: str, *, detail: str = "", retry_after_ms: int = 0) -> None:
        self.byes.append(code)

    def check(self, now: float) -> None:
        pass

    def take(self) -> list[dict[str, Any]]:
        frames, self.frames = self.frames, []
        return frames

    def told(self) -> list[int]:
        """Every offset the phone was told of, by message or gap, in the order it was."""
        offsets: list[int] = []
        for frame in self.frames:
            for one in frame.get("items", [frame]):
                if "offset" in one:
                    offsets.append(one["offset"])
                elif one.get("type") == "gap":
                    offsets.extend(range(one["from"], one["to"] + 1))
        return offsets


class Place:
    """One stream with its log, one session, and reads that are answered when the test says so."""

    def __init__(
        self,
        *,
        window: int = 4,
        max_bytes: int = 10**6,
        ring: int = 8,
        mode: str = "replay",
        processed: int = 0,
        head: int = 0,
        received: int = 0,
    ) -> None:
        self.log = [self.item(offset) for offset in range(1, head + 1)]
        self.expired: set[int] = set()
        self.reads: list[tuple[Way, int, int]] = []
        self.link = FakeLink()
        self.stream = LiveStream(1, "room:x", epoch="e", head=head, tail=1, version=0, ring=ring)
        self.entry = Entry(1, 1, "room:x", "e", processed, max(processed, received), 0, head, 1, 0, False)
        self.session = Session(
            link=self.link,
            device_id=1,
            device="phone",
            app_id=1,
            here=Here(1, "foreground", 1, [self.entry]),
            mode=mode,
            window=Window(max_count=window, max_bytes=max_bytes),
            fetch=lambda way, after, upto: self.reads.append((way, after, upto)),
        )
        self.way = self.session.add(self.stream, self.entry)
        self.session.begin([self.entry], {})

    @staticmethod
    def item(offset: int) -> Item:
        text = wire.message_item(
            stream="room:x", offset=offset, name="turn", time="t", service=None, payload=str(offset)
        )
        return Item(offset, text, FOREVER)

    @property
    def head(self) -> int:
        return len(self.log)

    def commit(self, count: int = 1) -> Appended:
        """Appends to the log and returns the wake-up, which is not yet delivered."""
        fresh = [self.item(self.head + n) for n in range(1, count + 1)]
        self.log += fresh
        return Appended(1, "room:x", fresh, self.head)

    def deliver(self, appended: Appended) -> None:
        if self.stream.extend(appended):
            self.session.pump()

    def repair(self) -> None:
        """What the repair round does."""
        self.stream.seen(self.head)
        self.session.pump()

    def answer_read(self, limit: int = 3) -> None:
        way, after, _ = self.reads.pop(0)
        upto = min(self.head, after + limit)
        items = [item for item in self.log[after:upto] if item.offset not in self.expired]
        holes = [Hole(n, n, "expired") for n in range(after + 1, upto + 1) if n in self.expired]
        self.session.fetched(way, Range(after, upto, items, holes))
