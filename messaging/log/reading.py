"""Reads of the log. Rows become wire text at once: none passes through the ORM or a serializer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from django.conf import settings
from msgspec import Struct

from messaging.log import sql
from messaging.log.effects import Item
from messaging.protocol import rules, wire
from messaging.protocol.rules import Hole

#: Bytes of payload that one read takes into memory, of all its ranges together. (SQLite makes no text above 1 GB.)
BYTES = 4 * 1024 * 1024


class Entry(Struct):
    """A device's place in one of its streams, with the heads at the moment of reading (the cut)."""

    subscription_id: int
    stream_id: int
    stream: str
    epoch: str
    processed: int
    received: int
    latest_received: int
    head: int
    tail: int
    version: int
    closed: bool

    def as_frame(self, cut: int | None = None) -> dict[str, Any]:
        """The members of a stream entry (docs/reference/protocol.md)."""
        return {
            "stream": self.stream,
            "epoch": self.epoch,
            "processed": self.processed,
            "received": self.received,
            "cut": self.head if cut is None else cut,
            "head": self.head,
            "tail": self.tail,
            "latest_received": self.latest_received,
        }


_ENTRY = (
    "SELECT u.device_id, u.id, u.stream_id, s.name, s.epoch, u.processed, u.received, u.latest_received,"
    " s.head, s.tail, s.version, s.closed_at IS NOT NULL"
    " FROM messaging_subscription u JOIN messaging_stream s ON s.id = u.stream_id"
)


def entries(devices: Collection[int]) -> dict[int, list[Entry]]:
    """The entries of each device, by stream name. One query."""
    found: dict[int, list[Entry]] = {device: [] for device in devices}
    source = sql.rows("r", id="bigint")
    for device, *place in sql.run(
        f"{_ENTRY} JOIN {source} ON r.id = u.device_id ORDER BY s.name", sql.packed((device,) for device in found)
    ):
        found[device].append(Entry(*sql.truth(place)))
    return found


def subscriptions(devices: Collection[int]) -> dict[int, tuple[int, int]]:
    """How many subscriptions each device has, and the sum of their ids: another sum, other streams. One query."""
    source = sql.rows("r", id="bigint")
    rows = sql.run(
        f"SELECT r.id, count(u.id), CAST(coalesce(sum(u.id), 0) AS bigint) FROM {source}"
        " LEFT JOIN messaging_subscription u ON u.device_id = r.id GROUP BY r.id",
        sql.packed((device,) for device in devices),
    )
    return {device: (count, total) for device, count, total in rows}


class Range(Struct):
    """Part of a stream, complete up to `upto`: every offset of (after, upto] is an item or in a hole."""

    after: int
    upto: int
    items: list[Item]
    holes: list[Hole]


class Asked(NamedTuple):
    """A range to be read: at most `limit` offsets of (after, upto]."""

    stream_id: int
    after: int
    upto: int
    limit: int


def read_range(stream_id: int, *, after: int, upto: int, limit: int) -> Range:
    """One range (see `read_ranges`)."""
    return read_ranges([Asked(stream_id, after, upto, limit)])[0]


def read_ranges(asked: Sequence[Asked]) -> list[Range]:
    """The ranges, with the holes in them. One query for all; more only where something is missing or large.

    What is past its time counts as expired here, also before retention has removed it. All comes as one row of
    columns: sqlite3 lets go of the interpreter lock at every row, and under load takes long to get it back. Texts are
    put together here: 1,000 in half the time that `||` in SQL takes, a third of what it takes with GROUP BY (measured:
    1.8, 2.3 and 3.4 ms).
    """
    ends = _ends(asked)
    columns = (
        "r.place||' '||s.name||' '||t.name||' '||t.on_failure||' '||coalesce(v.name,'')",
        'm."offset"',
        sql.time_text("m.published_at"),
        sql.unix_seconds("m.expires_at"),
        f"CASE WHEN m.expires_at > {sql.moment()} THEN m.payload ELSE '' END",
    )
    (row,) = sql.run(
        f"SELECT {','.join(map(sql.joined, columns))} FROM {_messages()}"
        " JOIN messaging_stream s ON s.id = m.stream_id"
        " JOIN apps_registry_messagetype t ON t.id = m.type_id"
        " LEFT JOIN apps_registry_service v ON v.id = m.service_id",
        sql.stamp(sql.now()),
        _places(asked, ends),
    )
    found = _items(len(asked), map(sql.parted, row))
    return [_range(one, ends[place], found[place]) for place, one in enumerate(asked)]


def _messages() -> str:
    """SQL for the messages `m` of ranges `r` (see `_places`)."""
    source = sql.rows("r", place="bigint", stream_id="bigint", after="bigint", upto="bigint")
    return (
        f'{source} JOIN messaging_message m ON m.stream_id = r.stream_id AND m."offset" > r.after'
        ' AND m."offset" <= r.upto'
    )


def _places(asked: Sequence[Asked], ends: Sequence[int]) -> str:
    return sql.packed((place, one.stream_id, one.after, ends[place]) for place, one in enumerate(asked))


def _ends(asked: Sequence[Asked]) -> list[int]:
    """Where each range ends: at its limit, or sooner where all together would take more than BYTES.

    Then each gets an equal share, and one message at least: whoever reads comes on.
    """
    ends = [min(one.upto, one.after + one.limit) for one in asked]
    most = sum(max(0, end - one.after) for one, end in zip(asked, ends, strict=True))
    if most * settings.MEANWHILE_MAX_DATA <= BYTES:
        return ends
    size = sql.octets("m.payload")
    if sql.run(f"SELECT coalesce(sum({size}), 0) FROM {_messages()}", _places(asked, ends))[0][0] <= BYTES:
        return ends
    columns = ",".join(map(sql.joined, ("r.place", 'm."offset"', size)))
    (row,) = sql.run(f"SELECT {columns} FROM {_messages()}", _places(asked, ends))
    sizes: list[list[tuple[int, int]]] = [[] for _ in asked]
    for place, offset, octets in zip(*(map(int, sql.parted(column)) for column in row), strict=True):
        sizes[place].append((offset, octets))
    for place, found in enumerate(sizes):
        ends[place] = rules.end_within(sorted(found), BYTES // len(asked), end=ends[place])
    return ends


def _items(places: int, columns: Iterable[list[str]]) -> list[list[Item]]:
    """The items of each place from the columns of `read_ranges`, in offset order; what is expired has no text."""
    found: list[list[Item]] = [[] for _ in range(places)]
    known: dict[str, tuple[Callable[[Item], None], str, str, str]] = {}
    for kind, offset, time, end, payload in zip(*columns, strict=True):
        if kind not in known:
            place, stream, name, on_failure, service = kind.split(" ")
            parts = wire.message_parts(stream, name, service, stops=on_failure == "stop")
            known[kind] = (found[int(place)].append, *parts)
        add, before_offset, before_time, before_data = known[kind]
        text = f"{before_offset}{offset}{before_time}{time}{before_data}{payload}}}" if payload else ""
        add(Item(int(offset), text, float(end)))
    for items in found:
        # Both engines join in the order they read; neither promises it.
        items.sort(key=_offset)
    return found


_offset = attrgetter("offset")


def _range(asked: Asked, upto: int, read: list[Item]) -> Range:
    after = asked.after
    items = [item for item in read if item.text]
    if upto <= after or len(items) == upto - after:
        return Range(after, max(after, upto), items, [])
    if not read and asked.upto > upto:
        upto = _end_of_hole(asked, upto)
    expired = [Hole(item.offset, item.offset, "expired") for item in read if not item.text]
    recorded = recorded_holes(asked.stream_id, after=after, upto=upto)
    found = rules.holes(after=after, upto=upto, stored=[item.offset for item in items], recorded=expired + recorded)
    return Range(after, upto, items, _joined(found))


def _end_of_hole(asked: Asked, beyond: int) -> int:
    """A hole longer than the limit is told as one: up to the next message that is stored."""
    rows = sql.run(
        'SELECT min("offset") FROM messaging_message WHERE stream_id = %s AND "offset" > %s', asked.stream_id, beyond
    )
    following = rows[0][0]
    return asked.upto if following is None else min(asked.upto, following - 1)


def _joined(holes: Iterable[Hole]) -> list[Hole]:
    """Neighbouring holes of one reason as one."""
    found: list[Hole] = []
    for hole in holes:
        if found and found[-1].reason == hole.reason and found[-1].to_offset + 1 == hole.from_offset:
            found[-1] = found[-1]._replace(to_offset=hole.to_offset)
        else:
            found.append(hole)
    return found


def recorded_holes(stream_id: int, *, after: int, upto: int) -> list[Hole]:
    """The gaps written down that touch (after, upto]."""
    rows = sql.run(
        "SELECT from_offset, to_offset, reason FROM messaging_gap"
        " WHERE stream_id = %s AND to_offset > %s AND from_offset <= %s ORDER BY from_offset",
        stream_id,
        after,
        upto,
    )
    return [Hole(*row) for row in rows]


class Value(Struct):
    """A newest value a device has not acknowledged, and how many updates of its key it stands for."""

    stream_id: int
    value: str
    version: int
    coalesced: int
    text: str


def unread_values(
    subscriptions: Collection[int], *, after: Mapping[int, int] | None = None, limit: int | None = None
) -> dict[int, list[Value]]:
    """Per subscription the values above its `latest_received`, oldest version first. One query.

    after: and above this version. limit: of all together; those of one subscription come before those of the next.
    """
    found: dict[int, list[Value]] = defaultdict(list)
    if not subscriptions:
        return found
    source = sql.rows("r", id="bigint", after="bigint")
    rows = sql.run(
        f"SELECT u.id, s.id, s.name, t.id, t.name, l.key, l.version, l.revision - coalesce(c.revision, 0),"
        f" {sql.time_text('l.published_at')}, v.name, l.payload"
        f" FROM {source} JOIN messaging_subscription u ON u.id = r.id"
        " JOIN messaging_stream s ON s.id = u.stream_id"
        " JOIN messaging_latestvalue l ON l.stream_id = s.id AND l.version > u.latest_received AND l.version > r.after"
        " JOIN apps_registry_messagetype t ON t.id = l.type_id"
        " LEFT JOIN apps_registry_service v ON v.id = l.service_id"
        " LEFT JOIN messaging_latestreceipt c ON c.subscription_id = u.id AND c.value_id = l.id"
        f" WHERE l.expires_at > %s ORDER BY u.id, l.version{'' if limit is None else f' LIMIT {int(limit)}'}",
        sql.packed((id, after.get(id, 0) if after else 0) for id in subscriptions),
        sql.stamp(sql.now()),
    )
    for subscription, stream_id, stream, type_id, name, key, version, coalesced, time, service, payload in rows:
        text = wire.latest_item(
            stream=stream,
            name=name,
            key=key,
            version=version,
            coalesced=coalesced,
            time=time,
            service=service,
            payload=payload,
        )
        found[subscription].append(Value(stream_id, f"{type_id}/{key}", version, coalesced, text))
    return found


class Head(Struct):
    """What the repair round compares sessions with."""

    head: int
    tail: int
    version: int
    epoch: str
    closed: bool


class Known(NamedTuple):
    """What this process believes of a stream."""

    stream_id: int
    head: int
    tail: int
    version: int
    epoch: str
    closed: bool


def news_of(streams: Iterable[Known]) -> dict[int, Head]:
    """The streams of which something else is true than is believed. One query; rows only for those."""
    source = sql.rows("r", id="bigint", head="bigint", tail="bigint", version="bigint", epoch="text", closed="boolean")
    closed = "r.closed" if sql.is_postgres() else "(r.closed <> 0)"
    rows = sql.run(
        "SELECT s.id, s.head, s.tail, s.version, s.epoch, s.closed_at IS NOT NULL"
        f" FROM {source} JOIN messaging_stream s ON s.id = r.id WHERE s.head > r.head OR s.tail > r.tail"
        f" OR s.version > r.version OR s.epoch <> r.epoch OR (s.closed_at IS NOT NULL) <> {closed}",
        sql.packed(streams),
    )
    return {id: Head(*sql.truth(place)) for id, *place in rows}


def moved(believed: Iterable[tuple[int, int]]) -> dict[int, int]:
    """The subscriptions that have processed more than is believed of them, from (id, processed). One query."""
    source = sql.rows("r", id="bigint", processed="bigint")
    rows = sql.run(
        f"SELECT u.id, u.processed FROM {source} JOIN messaging_subscription u ON u.id = r.id"
        " WHERE u.processed > r.processed",
        sql.packed(believed),
    )
    return dict(rows)
