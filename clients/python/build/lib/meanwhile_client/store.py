"""What a device keeps: how far its app has got in each stream, and results the server has not confirmed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass
class Place:
    """One stream. `done`: the last offset that was handed over. What is unsaved is sent again after a return."""

    epoch: str
    done: int
    exceptions: list[dict[str, Any]] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)


class Store(Protocol):
    def load(self) -> dict[str, Place]: ...

    def save(self, places: dict[str, Place]) -> None:
        """Called when a handler has returned and before its result is reported."""


class MemoryStore:
    """Forgets with the process: what was not confirmed is handed over again."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}

    def load(self) -> dict[str, Place]:
        return self._places

    def save(self, places: dict[str, Place]) -> None:
        self._places = places


class FileStore:
    """A JSON file, replaced as a whole and synced: one hand-over per offset, also when the process is killed between.

    An app whose handlers write to a database keeps `done` there instead, in the same transaction: a Store of its own.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def load(self) -> dict[str, Place]:
        if not self._path.exists():
            return {}
        return {stream: Place(**place) for stream, place in json.loads(self._path.read_text()).items()}

    def save(self, places: dict[str, Place]) -> None:
        beside = self._path.with_name(self._path.name + ".new")
        with beside.open("w") as file:
            json.dump({stream: asdict(place) for stream, place in places.items()}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
