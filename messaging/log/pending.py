"""The pull: everything a device has not processed, up to the cut. A pure read; rows are joined as text.

A page is the greedy merge of the streams by (time, stream, offset), each stream in its own order. That merge depends on
nothing but the positions reached, so pages put together are the merge of the whole, however they were cut.
"""

from __future__ import annotations

import base64
import binascii
import heapq
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from django.db import connection
from msgspec import Struct

from messaging import failpoints
from messaging.log import reading, sql
from messaging.log.effects import Item
from messaging.log.reading import Entry
from messaging.protocol import rules, wire
from messaging.protocol.errors import ProtocolError
from messaging.protocol.rules import Hole


class Place(Struct, array_like=True):
    """How far a pull has got in a stream, and how far it goes. The cut stays what it was on the first page."""

    epoch: str
    after: int
    cut: int


_BEGIN_POSTGRES = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

#: By stream id: in a URL, names would take a device of many rooms beyond what proxies let through.
Places = dict[int, Place]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Places).decode


class Asked(Struct):
    """What a pull asks for. `after`, `until` and `epoch` are of `stream`; a cursor stands for all of them."""

    limit: int
    stream: str = ""
    after: int | None = None
    until: int | None = None
    epoch: str = ""
    cursor: str = ""


class Page(Struct):
    """A page: the answer's JSON text, and the cursor of the next ("" on the last).

    entries: the streams asked for, as they stood. nothing: it tells of no message, gap or value.
    """

    text: str
    next: str
    entries: list[Entry]
    nothing: bool


class _Part(Struct):
    """One stream's share of a page."""

    entry: Entry
    place: Place
    items: list[Item]
    holes: list[Hole]
    #: Everything up to here is told with this page.
    reached: int

    @property
    def complete(self) -> bool:
        return self.reached >= self.place.cut


def page(*, device_id: int, asked: Asked) -> Page:
    """The page asked for. Two or three queries, more only for holes, in one read transaction.

    Raises `unknown_stream`, `position_gone`, and `invalid` for a cursor that is none.
    """
    with _snapshot():
        entries = {entry.stream_id: entry for entry in reading.entries([device_id])[device_id]}
        places = _resumed(asked.cursor, entries) if asked.cursor else _begun(asked, entries)
        parts = _parts(entries, places, asked.limit)
        values = {} if asked.cursor else reading.unread_values(_with_values(entries, places))
    messages = _merge(parts, asked.limit)
    latest = [value.text for found in values.values() for value in found]
    cursor = _cursor(parts)
    failpoints.hit("pull.after_read")
    nothing = not (messages or latest or any(part.holes for part in parts))
    return Page(_text(parts, messages, latest, cursor), cursor, [part.entry for part in parts], nothing)


@contextmanager
def _snapshot() -> Iterator[None]:
    """One state of the database for all reads of a page; nobody waits for it, and it waits for nobody.

    Begun by hand: on SQLite `atomic` begins as writers do (IMMEDIATE), and every pull would queue behind the Journal.
    """
    if connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN_POSTGRES if sql.is_postgres() else "BEGIN DEFERRED")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


# --- Where it begins -------------------------------------------------------------------------------------------------


def _begun(asked: Asked, entries: Mapping[int, Entry]) -> Places:
    """The first page: cuts are taken now."""
    chosen = [entry for entry in entries.values() if asked.stream in ("", entry.stream)]
    if asked.stream and not chosen:
        raise ProtocolError("unknown_stream")
    return {entry.stream_id: _start(entry, asked.epoch, asked.after, asked.until) for entry in chosen}


def _resumed(cursor: str, entries: Mapping[int, Entry]) -> Places:
    """A later page: cuts are those of the first. A cursor is not signed: what it says is held against the entries."""
    places: Places = {}
    for id, place in _read(cursor).items():
        if id not in entries:
            raise ProtocolError("unknown_stream")
        places[id] = _start(entries[id], place.epoch, place.after, place.cut)
    return places


def _start(entry: Entry, epoch: str, after: int | None, until: int | None) -> Place:
    start = rules.start_of_return(
        processed=entry.processed, head=entry.head, epoch=entry.epoch, stated_processed=after, stated_epoch=epoch
    )
    if start.reset or (epoch and epoch != entry.epoch):
        raise ProtocolError(
            "position_gone", stream=entry.stream, epoch=entry.epoch, processed=entry.processed, head=entry.head
        )
    return Place(entry.epoch, start.after, entry.head if until is None else min(until, entry.head))


def _read(cursor: str) -> Places:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return _decode(raw)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise ProtocolError("invalid", "The cursor is not one of this server's.") from None


def _cursor(parts: list[_Part]) -> str:
    """For the next page: the streams that are not told up to their cut. "" when all are."""
    left = {
        part.entry.stream_id: Place(part.place.epoch, part.reached, part.place.cut)
        for part in parts
        if not part.complete
    }
    return base64.urlsafe_b64encode(_encode(left)).rstrip(b"=").decode() if left else ""


def _with_values(entries: Mapping[int, Entry], places: Places) -> set[int]:
    """The subscriptions that have something to look for."""
    chosen = (entries[id] for id in places)
    return {entry.subscription_id for entry in chosen if entry.version > entry.latest_received}


# --- What is in it ---------------------------------------------------------------------------------------------------


def _parts(entries: Mapping[int, Entry], places: Places, limit: int) -> list[_Part]:
    """Of each stream at most `limit` offsets behind its place. One query for all, more only for holes."""
    asked = [
        reading.Asked(id, place.after, place.cut, limit) for id, place in places.items() if place.after < place.cut
    ]
    read = dict(zip((one.stream_id for one in asked), reading.read_ranges(asked), strict=True)) if asked else {}
    return [_part(entries[id], place, read.get(id)) for id, place in places.items()]


def _part(entry: Entry, place: Place, read: reading.Range | None) -> _Part:
    return _Part(entry, place, read.items, read.holes, read.upto) if read else _Part(entry, place, [], [], place.after)


def _merge(parts: list[_Part], limit: int) -> list[str]:
    """At most `limit` messages in their common order; sets back how far each stream is told."""
    waiting = [part for part in parts if part.items or not part.complete]
    if len(waiting) == 1:
        return [item.text for item in waiting[0].items]
    taken: list[str] = []
    counts = dict.fromkeys((part.entry.stream for part in waiting), 0)
    for _, stream, _, text in heapq.merge(*map(_queue, waiting)):
        if text is None:
            break
        taken.append(text)
        counts[stream] += 1
        if len(taken) == limit:
            break
    for part in waiting:
        count = counts[part.entry.stream]
        if count < len(part.items):
            part.reached = part.items[count - 1].offset if count else part.place.after
    return taken


def _queue(part: _Part) -> Iterator[tuple[str, str, int, str | None]]:
    """A stream's messages for the merge. Where more was not read, its end stops the page: what comes might be next."""
    stream = part.entry.stream
    for item in part.items:
        yield _time(item.text), stream, item.offset, item.text
    if not part.complete:
        yield "", stream, 0, None


def _time(item: str) -> str:
    """The `time` member of `wire.message_item`: what stands before it are names, which hold no quotes."""
    begin = item.index('"time":"') + 8
    return item[begin : begin + 24]


def _text(parts: list[_Part], messages: list[str], latest: list[str], cursor: str) -> str:
    gaps = [
        {"stream": part.entry.stream, "from": hole.from_offset, "to": hole.to_offset, "reason": hole.reason}
        for part in parts
        for hole in part.holes
        if hole.to_offset <= part.reached
    ]
    return (
        f'{{"streams":{wire.dumps({part.entry.stream: _standing(part) for part in parts})},'
        f'"messages":{_array(messages)},"latest":{_array(latest)},"gaps":{wire.dumps(gaps)},'
        f'"next":{wire.dumps(cursor or None)}}}'
    )


def _array(items: list[str]) -> str:
    """Items come without their opening brace (`wire.message_item`)."""
    return "[{" + ",{".join(items) + "]" if items else "[]"


def _standing(part: _Part) -> dict[str, Any]:
    entry = part.entry
    closed = {"closed": True} if entry.closed else {}
    return {
        "epoch": entry.epoch,
        "processed": entry.processed,
        "cut": part.place.cut,
        "head": entry.head,
        "tail": entry.tail,
        "latest_received": entry.latest_received,
        "complete": part.complete,
        **closed,
    }
