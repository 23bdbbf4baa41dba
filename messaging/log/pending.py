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

from messaging.log import reading, sql
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

#: Stands in no item: JSON text holds no control characters.
_SEPARATOR = "\x1e"
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
    """A page: the answer's JSON text, and the cursor of the next ("" on the last)."""

    text: str
    next: str


class _Part(Struct):
    """One stream's share of a page."""

    entry: Entry
    place: Place
    #: (offset, text) in order.
    items: list[tuple[int, str]]
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
    return Page(_text(parts, messages, latest, cursor), cursor)


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
    """Of each stream at most `limit` offsets behind its place. One query for all; more only where something is missing.

    A stream's messages come as one row: sqlite3 lets go of the interpreter lock at every row, and eight busy threads
    take long to get it back. Measured, 50 messages: 2,700 reads/s row by row, 5,500 as one.
    """
    asked = {id: (id, place.after, _end(entries[id], place, limit)) for id, place in places.items()}
    joined = "string_agg" if sql.is_postgres() else "group_concat"
    now = "now()" if sql.is_postgres() else f"'{sql.stamp(sql.now())}'"
    source = sql.rows("r", stream_id="bigint", after="bigint", upto="bigint")
    rows = sql.run(
        f"SELECT r.stream_id, {joined}(CASE WHEN m.expires_at > {now} THEN {reading._item_sql('s.name')} END, %s),"
        f" {joined}(CASE WHEN m.expires_at <= {now} THEN CAST(m.\"offset\" AS text) END, ',')"
        f' FROM {source} JOIN messaging_message m ON m.stream_id = r.stream_id AND m."offset" > r.after'
        ' AND m."offset" <= r.upto JOIN messaging_stream s ON s.id = m.stream_id'
        " JOIN apps_registry_messagetype t ON t.id = m.type_id"
        " LEFT JOIN apps_registry_service v ON v.id = m.service_id GROUP BY r.stream_id",
        _SEPARATOR,
        sql.packed(one for one in asked.values() if one[1] < one[2]),
    )
    found = {id: (texts or "", expired or "") for id, texts, expired in rows}
    return [_part(entries[id], place, asked[id][2], *found.get(id, ("", ""))) for id, place in places.items()]


def _end(entry: Entry, place: Place, limit: int) -> int:
    """Offsets are dense: `limit` of them behind the place, or behind what is not stored any more."""
    return min(place.cut, max(place.after, entry.tail - 1) + limit)


def _part(entry: Entry, place: Place, upto: int, texts: str, expired: str) -> _Part:
    # Both engines join in the order they read; neither promises it.
    items = sorted((_offset(text, entry.stream), text) for text in texts.split(_SEPARATOR)) if texts else []
    upto = max(place.after, upto)
    if not texts and not expired and place.after < upto < place.cut:
        upto = _end_of_hole(entry, upto, place.cut)
    holes = [] if len(items) == upto - place.after else _holes(entry, place.after, upto, items, expired)
    return _Part(entry, place, items, holes, upto)


def _end_of_hole(entry: Entry, beyond: int, cut: int) -> int:
    """A hole longer than a page is told at once: up to the next message that is stored."""
    ((following,),) = sql.run(
        'SELECT min("offset") FROM messaging_message WHERE stream_id = %s AND "offset" > %s', entry.stream_id, beyond
    )
    return cut if following is None else min(cut, following - 1)


def _offset(item: str, stream: str) -> int:
    """The `offset` member of `wire.message_item`."""
    begin = len(stream) + 21
    return int(item[begin : item.index(",", begin)])


def _holes(entry: Entry, after: int, upto: int, items: list[tuple[int, str]], expired: str) -> list[Hole]:
    past = [Hole(int(offset), int(offset), "expired") for offset in expired.split(",") if offset]
    recorded = past + reading.recorded_holes(entry.stream_id, after=after, upto=upto)
    stored = [offset for offset, _ in items]
    return reading._joined(rules.holes(after=after, upto=upto, stored=stored, recorded=recorded))


def _merge(parts: list[_Part], limit: int) -> list[str]:
    """At most `limit` messages in their common order; sets back how far each stream is told."""
    waiting = [part for part in parts if part.items or not part.complete]
    if len(waiting) == 1:
        return [text for _, text in waiting[0].items]
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
            part.reached = part.items[count - 1][0] if count else part.place.after
    return taken


def _queue(part: _Part) -> Iterator[tuple[str, str, int, str | None]]:
    """A stream's messages for the merge. Where more was not read, its end stops the page: what comes might be next."""
    stream = part.entry.stream
    for offset, text in part.items:
        yield _time(text), stream, offset, text
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
