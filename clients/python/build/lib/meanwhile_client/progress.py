"""How far the app has got in each stream, and what the server is to be told of it. Nothing here waits or sends."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

from meanwhile_client.connection import Frame
from meanwhile_client.errors import ConnectionLost
from meanwhile_client.items import Message
from meanwhile_client.store import Place, Store

log = logging.getLogger("meanwhile_client")

#: Bytes of results in one frame.
LARGE = 128 * 1024
LARGEST_VALUE = 64 * 1024
#: The server refuses U+0000 and lone surrogates.
_unsendable = re.compile("[\x00\ud800-\udfff]")


class Progress:
    """The store's places, and for one connection what has been told. `places` is saved at every step."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.places = store.load()
        #: Failures at which streams wait.
        self.stops: dict[str, Frame] = {}
        #: Of which streams results are to be told; how far they were on this connection.
        self._dirty: set[str] = set()
        self._told: dict[str, int] = {}
        #: What is to be acknowledged: `latest` values, and what came behind a stop.
        self._versions: dict[str, int] = {}
        self._acks: dict[str, int] = {}

    # --- a connection begins -----------------------------------------------------------------------------------------

    def positions(self, room: int) -> Frame:
        """As many as fit into a hello. The others' replay begins at the server's cursor; doubles are dropped."""
        positions: Frame = {}
        for stream, place in self.places.items():
            position = {"epoch": place.epoch, "processed": place.done}
            room -= len(json.dumps({stream: position}))
            if room >= 0:
                positions[stream] = position
        return positions

    def begin(self, entries: list[Frame]) -> None:
        """A new connection: where the server stands; what it does not know of is reported again."""
        self._dirty.clear()
        self._versions.clear()
        self._acks.clear()
        self.stops.clear()
        for entry in entries:
            self.enter(entry)

    def enter(self, entry: Frame) -> None:
        stream = entry["stream"]
        self._told[stream] = entry["processed"]
        place = self.places.get(stream)
        if place is None or place.epoch != entry["epoch"] or not entry["processed"] <= place.done <= entry["head"]:
            self.places[stream] = Place(entry["epoch"], entry["processed"])
        elif place.done > entry["processed"]:
            self._dirty.add(stream)

    def leave(self, stream: str) -> None:
        self.places.pop(stream, None)

    # --- what the app has done ---------------------------------------------------------------------------------------

    def expects(self, message: Message) -> bool:
        """Whether it is to be handed over now. Raises ConnectionLost where one before it is missing."""
        if message.stream in self.stops:
            self._pass(message)
            return False
        done = self.places[message.stream].done
        if message.offset > done + 1:
            raise ConnectionLost({"detail": f"{message.stream} has an unexplained hole: the replay begins again."})
        return message.offset == done + 1

    def processed(self, message: Message, value: Any) -> None:
        if value is not None and _sendable(message, value):
            self.places[message.stream].values.append({"offset": message.offset, "value": value})
        self.go_on(message.stream, message.offset)

    def failed(self, message: Message, error: Exception) -> bool:
        """Whether the stream stops at it."""
        detail = _unsendable.sub("\ufffd", str(error))[:1024]
        failure = {"offset": message.offset, "code": type(error).__name__[:128], "detail": detail}
        if message.on_failure == "stop":
            self._pass(message)
            self._stop(message.stream, failure)
            return True
        self.places[message.stream].exceptions.append(failure)
        self.go_on(message.stream, message.offset)
        return False

    def go_on(self, stream: str, upto: int) -> None:
        """Everything up to an offset is done with."""
        self.places[stream].done = upto
        self._save()
        self._dirty.add(stream)

    def shown(self, stream: str, version: int) -> None:
        """A `latest` value was handed over."""
        self._versions[stream] = version

    def _pass(self, message: Message) -> None:
        """Acknowledged, for the window is the other streams', too; and dropped: it comes again with the next replay."""
        self._acks[message.stream] = max(self._acks.get(message.stream, 0), message.offset)

    def _stop(self, stream: str, failure: Frame) -> None:
        self.stops[stream] = failure
        self._dirty.add(stream)

    def _save(self) -> None:
        self._store.save(self.places)

    # --- what the server is told, and says to it ---------------------------------------------------------------------

    def news(self) -> Iterator[Frame]:
        """Frames that tell what was not told on this connection: many messages in one."""
        while self._versions:
            stream, version = self._versions.popitem()
            yield {"type": "ack_latest", "stream": stream, "version": version}
        while self._acks:
            stream, upto = self._acks.popitem()
            if place := self.places.get(stream):
                yield {"type": "ack", "stream": stream, "upto": upto, "epoch": place.epoch}
        for stream in sorted(self._dirty):
            self._dirty.discard(stream)
            if place := self.places.get(stream):
                for results in self._results(stream, place):
                    yield {"type": "results", "stream": stream, "epoch": place.epoch, **results}

    def _results(self, stream: str, place: Place) -> Iterator[Frame]:
        """Everything up to `done`: cumulative, cut where it would be too large.

        Failures are told until they are confirmed: the server may wait at one, and what follows must not cover it up.
        """
        told, self._told[stream] = self._told.get(stream, 0), place.done
        specials = [("exceptions", one) for one in place.exceptions] + [("values", one) for one in place.values]
        part: Frame = {"exceptions": [], "values": []}
        size = 0
        for kind, one in sorted(specials, key=lambda special: special[1]["offset"]):
            if one["offset"] <= told and kind == "values":
                continue
            weight = len(json.dumps(one))
            if size and size + weight > LARGE:
                yield {"upto": max(said["offset"] for said in [*part["exceptions"], *part["values"]]), **part}
                part, size = {"exceptions": [], "values": []}, 0
            part[kind].append(one)
            size += weight
        upto = place.done
        failure = self.stops.get(stream)
        if failure and failure["offset"] == upto + 1:
            upto = failure["offset"]
            part["exceptions"].append(failure)
        yield {"upto": upto, **part}

    def saved(self, stream: str, processed: int, stopped: int | None) -> bool:
        """The server has taken results. → whether it waits at one that was no stop when its message came."""
        place = self.places.get(stream)
        if place is None:
            return False
        failure = self.stops.get(stream)
        if failure and processed >= failure["offset"]:
            place.done = max(place.done, processed)
            self._save()
            raise ConnectionLost({"detail": f"The server went on beyond {failure['offset']} of {stream}: so do we."})
        if stopped is not None and stopped <= place.done:
            self._set_back(stream, place, stopped)
            return True
        if place.exceptions or place.values:
            place.exceptions = [one for one in place.exceptions if one["offset"] > processed]
            place.values = [one for one in place.values if one["offset"] > processed]
            self._save()
        return False

    def _set_back(self, stream: str, place: Place, offset: int) -> None:
        failure = next((one for one in place.exceptions if one["offset"] == offset), {"offset": offset})
        place.done, place.exceptions, place.values = offset - 1, [], []
        self._save()
        self._told[stream] = place.done
        self._stop(stream, failure)


def _sendable(message: Message, value: Any) -> bool:
    """Whether the server would take the value: else it is left out, and the message was handled all the same."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if len(text.encode()) > LARGEST_VALUE:
            raise ValueError(f"above {LARGEST_VALUE} bytes")
        if "\\u0000" in text:
            raise ValueError("it holds U+0000")
    except (TypeError, ValueError, RecursionError) as error:
        log.warning("the value returned for %s %d is not reported: %s", message.stream, message.offset, error)
        return False
    return True
