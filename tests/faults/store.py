"""What a phone keeps when its app is killed: as the SDK's store, a position per stream and results nobody confirmed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Place:
    epoch: str | None = None
    #: The handler is through with everything up to here.
    done: int = 0
    #: The server has confirmed the results up to here.
    processed: int = 0
    failed: set[int] = field(default_factory=set)
    #: Where the stream waits: the handler failed on it.
    stopped: int | None = None

    def confirmed(self, processed: int) -> None:
        self.processed = max(self.processed, processed)
        self.failed = {offset for offset in self.failed if offset > self.processed}


@dataclass
class Store:
    places: dict[str, Place] = field(default_factory=dict)
    state_seq: int = 0
