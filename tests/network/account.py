"""What a device says of itself, in the words of the history. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.faults import history as h

Line = dict[str, Any]


class Account:
    """One device. Takes its lines one by one, in order."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._generation = 0
        self._placed: set[str] = set()

    def events(self, line: Line) -> list[h.Event]:
        """What the line is in the history; most are nothing."""
        found: Callable[[Line], list[h.Event]] | None = getattr(self, f"_{line['kind']}", None)
        return found(line) if found else []

    # --- the app -----------------------------------------------------------------------------------------------------

    def _began(self, line: Line) -> list[h.Event]:
        return [h.Handed(self.device, line["stream"], line["offset"], line["data"])]

    def _returned(self, line: Line) -> list[h.Event]:
        return [h.Returned(self.device, line["stream"], line["offset"], line["failed"])]

    def _told(self, line: Line) -> list[h.Event]:
        return [h.Told(self.device, line["stream"], line["from"], line["to"], line["reason"])]

    def _shown(self, line: Line) -> list[h.Event]:
        return [h.Shown(self.device, line["stream"], line["key"], line["version"])]

    # --- the SDK -----------------------------------------------------------------------------------------------------

    def _adopt(self, line: Line) -> list[h.Event]:
        """The first position. A later one must have been told as a gap, or the next message is not in place."""
        if line["stream"] in self._placed:
            return []
        self._placed.add(line["stream"])
        return [h.Adopted(self.device, line["stream"], line["done"])]

    def _saved(self, line: Line) -> list[h.Event]:
        return [h.Saved(self.device, line["stream"], line["processed"])]

    def _sent(self, line: Line) -> list[h.Event]:
        frame = line["frame"]
        if frame["type"] in {"hello", "notice"}:
            return [h.Wants(self.device, frame["state"])]
        if frame["type"] == "results":
            return [h.Reported(self.device, frame["stream"], frame["upto"])]
        return []

    def _received(self, line: Line) -> list[h.Event]:
        frame = line["frame"]
        if frame["type"] == "welcome":
            return [*self._came(frame["generation"]), h.Agreed(self.device, frame["state"])]
        if frame["type"] == "notice_saved":  # of whichever notice: what follows on the wire was sent in this state
            return [h.Agreed(self.device, frame["state"])]
        if frame["type"] == "transient":
            return [h.Passed(self.device, frame["stream"])]
        return []

    def _came(self, generation: int) -> list[h.Event]:
        """A welcome to polling bears the generation of the last socket."""
        if generation == self._generation:
            return []
        self._generation = generation
        return [h.Came(self.device, generation)]
