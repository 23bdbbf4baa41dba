"""What the auditor knows of streams, devices, and devices in streams, up to a place in the history."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class Log:
    """A stream as services and devices together have seen it."""

    messages: dict[int, str] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    confirmed: set[int] = field(default_factory=set)
    #: Offset → the reasons for which it may be missing.
    removable: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    newest: dict[str, int] = field(default_factory=dict)
    #: What an older database that was put back knows of the stream; what had been published before, confirmed or not.
    restored: int | None = None
    before: set[str] = field(default_factory=set)

    @property
    def head(self) -> int:
        return max(self.confirmed, default=0)


@dataclass
class Reader:
    """A device in a stream."""

    joined: int | None = None
    #: In this life of the app; in the store.
    position: int | None = None
    stored: int = 0
    open: int | None = None
    failed: set[int] = field(default_factory=set)
    #: Failures whose confirmed results an older database lacks: the device keeps them no longer, and cannot say again.
    forgotten: set[int] = field(default_factory=set)
    missed: set[int] = field(default_factory=set)
    #: The furthest that a handler ever was, or a gap.
    furthest: int = 0
    #: Failures at which it waited: at all, as confirmed; and those beyond which the operator let it go since.
    halts: set[int] = field(default_factory=set)
    told_halts: set[int] = field(default_factory=set)
    let_go: set[int] = field(default_factory=set)
    #: Handed over again, for the stream was set back: what came of these the first time may have been told.
    undone: set[int] = field(default_factory=set)
    #: Where it waits for sure: confirmed, and nothing happened since.
    waits: int | None = None
    reported: int = 0
    saved: int = 0
    owes_reset: bool = False
    #: It has not come back since an older database was put back: what it has of the lost history, it may handle.
    unaware: bool = False
    #: What was confirmed when it asked to come back: head, results, and the newest version of each key.
    asked_head: int = 0
    asked_saved: int = 0
    asked_at: dict[str, int] = field(default_factory=dict)
    #: Newest version of each key shown: ever, and on this connection.
    shown: dict[str, int] = field(default_factory=dict)
    here: dict[str, int] = field(default_factory=dict)


@dataclass
class Device:
    generation: int = 0
    wants: str = "foreground"
    agreed: str = "foreground"
