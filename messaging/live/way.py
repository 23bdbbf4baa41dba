"""How one stream reaches one session: what was sent, what is next, what is withheld."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messaging.live.stream import LiveStream
from messaging.log.reading import Entry
from messaging.protocol.window import Lane

if TYPE_CHECKING:
    from messaging.live.session import Session


class Way:
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
        "version",
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
        #: Values up to here there were when its return began: they are owed, not news.
        self.version = entry.version
        #: Newest version sent of each key.
        self.versions: dict[str, int] = {}
        #: Values above this version are to be read and sent; None: nothing is owed.
        self.owed_after: int | None = None

    @property
    def current(self) -> bool:
        """Whether the session goes on, and is in the stream by this way."""
        return not self.session.over and self.session.ways.get(self.stream.name) is self

    @property
    def drained(self) -> bool:
        """Whether everything that there is was sent."""
        return self.lane.next > self.stream.head
