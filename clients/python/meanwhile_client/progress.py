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
from meanwhile_client.lane import AHEAD
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
        #: `latest` values that are to be acknowledged.
        self._versions: dict[str, int] = {}
        #: The last offset that came on this connection, how far it was acknowledged, and where that may be more.
        self._came: dict[str, int] = {}
        self._acked: dict[str, int] = {}
        self._fresh: set[str] = set()
        #: Streams in which all that comes is acknowledged, for it is dropped.
        self.shed: set[str] = set()

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
        for of_the_connection in (self._came, self._acked, self._fresh, self.shed, self.stops):
            of_the_connection.clear()
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

    def came(self, message: Message) -> None:
        """It is acknowledged when it is its turn."""
        self._came[message.stream] = max(self._came.get(message.stream, 0), message.offset)
        self._fresh.add(message.stream)

    def crowded(self, stream: str) -> bool:
        """Whether more came than is acknowledged before the handlers: the rest holds the window of all streams."""
        place = self.places.get(stream)
        return place is not None and self._came.get(stream, 0) > place.done + AHEAD

    def processed(self, message: Message, value: Any) -> None:
        if value is not None and _sendable(message, value):
            self.places[message.stream].values.append({"offset": message.offset, "value": value})
        self.go_on(message.stream, message.offset)

    def failed(self, message: Message, error: Exception) -> bool:
        """Whether the stream stops at it."""
        detail = _unsendable.sub("\ufffd", str(error))[:1024]
        failure = {"offset": message.offset, "code": type(error).__name__[:128], "detail": detail}
        if message.on_failure == "stop":
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
        self._fresh.add(stream)

    def shown(self, stream: str, version: int) -> None:
        """A `latest` value was handed over."""
        self._versions[stream] = version

    def _stop(self, stream: str, failure: Frame) -> None:
        self.stops[stream] = failure
        self._dirty.add(stream)
        self._fresh.add(stream)

    def _save(self) -> None:
        self._store.save(self.places)

    # --- what the server is told, and says to it ---------------------------------------------------------------------

    def news(self) -> Iterator[Frame]:
        """Frames that tell what was not told on this connection: many messages in one."""
        while self._versions:
            stream, version = self._versions.popitem()
            yield {"type": "ack_latest", "stream": stream, "version": version}
        for stream in sorted(self._fresh):
            self._fresh.discard(stream)
            place = self.places.get(stream)
            if place and (upto := self._receipt(stream, place)):
                yield {"type": "ack", "stream": stream, "upto": upto, "epoch": place.epoch}
        for stream in sorted(self._dirty):
            self._dirty.discard(stream)
            if place := self.places.get(stream):
                for results in self._results(stream, place):
                    yield {"type": "results", "stream": stream, "epoch": place.epoch, **results}

    def _receipt(self, stream: str, place: Place) -> int | None:
        """Up to where to acknowledge; None: no further than it was, or than the results say.

        Received is not processed: it frees the window, which is the other streams', too. Not of all that came: what is
        behind AHEAD holds the server back. What is dropped, behind a stop or a handler that hangs, holds back nobody:
        it comes again with the next replay.
        """
        came = self._came.get(stream, 0)
        dropped = stream in self.stops or stream in self.shed
        upto = came if dropped else min(came, place.done + AHEAD)
        if upto <= max(place.done, self._acked.get(stream, 0)):
            return None
        self._acked[stream] = upto
        return upto

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
