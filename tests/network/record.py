"""The history of one device and its back end, and whether the device is current."""

from __future__ import annotations

import time

from tests.faults import history as h
from tests.faults.chronicle import Chronicle


class Current:
    """What is confirmed, and how far the device and its results have come. Pure."""

    def __init__(self) -> None:
        self._head: dict[str, int] = {}
        self._newest: dict[tuple[str, str], int] = {}
        self._done: dict[str, int] = {}
        self._shown: dict[tuple[str, str], int] = {}

    def take(self, event: h.Event) -> None:
        match event:
            case h.Confirmed(stream=stream, offset=offset):
                self._head[stream] = max(self._head.get(stream, 0), offset)
            case h.Valued(stream=stream, key=key, version=version):
                self._newest[stream, key] = max(self._newest.get((stream, key), 0), version)
            case h.Returned(stream=stream, offset=done) | h.Told(stream=stream, last=done):
                self._done[stream] = done
            case h.Shown(stream=stream, key=key, version=version):
                self._shown[stream, key] = version

    def lacks(self) -> list[str]:
        """What the app has not seen."""
        messages = [
            f"{stream}: handled to {self._done.get(stream, 0)} of {head}"
            for stream, head in self._head.items()
            if self._done.get(stream, 0) != head
        ]
        values = [
            f"{stream} {key}: {self._shown.get((stream, key), 0)} is shown, {newest} the newest"
            for (stream, key), newest in self._newest.items()
            if self._shown.get((stream, key), 0) != newest
        ]
        return messages + values

    def owes(self, stands: list[h.Stands]) -> list[str]:
        """Which results the server does not have, of messages it has."""
        there = {one.stream: (one.processed, one.head) for one in stands}
        return [
            f"{stream}: processed to {there.get(stream)} of {head}"
            for stream, head in self._head.items()
            if there.get(stream) != (head, head)
        ]


class Record(Chronicle):
    """What two processes tell is put in order by the clock they share."""

    def __init__(self) -> None:
        super().__init__()
        self.current = Current()
        self._at: list[float] = []

    def add(self, *events: h.Event, at: float | None = None) -> None:
        """at: seconds of `time.monotonic`; now, if it is not told."""
        self._at += [time.monotonic() if at is None else at] * len(events)
        for event in events:
            self.current.take(event)
        super().add(*events)

    def in_order(self) -> list[h.Event]:
        places = sorted(range(len(self.events)), key=self._at.__getitem__)
        return [self.events[place] for place in places]
