"""append: messages get their place in the log. One code path assigns offsets, on every engine.

Lock order in every transaction: streams by id, subscriptions by id, feeds by service, presence by device.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from msgspec import Struct

from messaging import failpoints
from messaging.log import gaps, lineage, logs, sql, storage
from messaging.log.effects import Appended, Effects, Item, NewValue, Passing
from messaging.log.logs import Key, Log, Type
from messaging.protocol import rules, shedding, wire
from messaging.protocol.errors import ProtocolError


class Publication(Struct, gc=False):
    """One message for one or several streams of an app; `payload` is JSON text that has passed `jsontext.strict`."""

    app_id: int
    service_id: int | None
    service: str | None
    to: list[str]
    name: str
    payload: str
    key: str = ""
    dedup_id: str | None = None
    ttl: int | None = None


class Stored(Struct, gc=False):
    """Where a message got to: offset for `every`, version for `latest`, neither for `transient`.

    `shed`: the room had more to send than its app's rate. An `every` message has its offset, and is a gap.
    """

    stream: str
    offset: int | None = None
    version: int | None = None
    shed: bool = False


Placed = Stored | ProtocolError


def append(publications: Sequence[Publication], effects: Effects) -> list[list[Placed]]:
    """Per publication, per stream of its `to`: where it is stored, or why it is not.

    Inside a transaction. A refused message changes nothing and does not sink its neighbours. A `dedup_id` that the
    stream knows gives the offset it got the first time.
    """
    types = logs.types_of({p.app_id for p in publications})
    locked = logs.lock(
        (p.app_id, stream, types[p.app_id, p.name])
        for p in publications
        if (p.app_id, p.name) in types
        for stream in p.to
    )
    run = _Run(sql.now(), types, locked, _known_ids(publications, locked))
    placed = [[run.place(publication, stream) for stream in publication.to] for publication in publications]
    failpoints.hit("publish.before_insert")
    run.write(effects)
    failpoints.hit("publish.after_insert")
    return placed


def _known_ids(publications: Sequence[Publication], locked: dict[Key, Log]) -> dict[tuple[int, str], tuple[Any, ...]]:
    asked = [
        (locked[p.app_id, stream].id, p.dedup_id)
        for p in publications
        if p.dedup_id
        for stream in p.to
        if (p.app_id, stream) in locked
    ]
    if not asked:
        return {}
    source = sql.rows("r", stream_id="bigint", dedup_id="text")
    known = sql.run(
        'SELECT m.stream_id, m.dedup_id, m."offset", m.type_id, m.payload'
        f" FROM {source} JOIN messaging_message m ON m.stream_id = r.stream_id AND m.dedup_id = r.dedup_id",
        sql.packed(asked),
    )
    return {(stream, id): tuple(rest) for stream, id, *rest in known}


class _Run:
    """One append under way: places messages in memory, then writes them as a few statements."""

    def __init__(
        self,
        now: datetime,
        types: dict[Key, Type],
        locked: dict[Key, Log],
        known: dict[tuple[int, str], tuple[Any, ...]],
    ) -> None:
        self._now = now
        self._time = wire.instant(now)
        self._types = types
        self._logs = locked
        self._known = known
        self._messages: list[tuple[Any, ...]] = []
        self._values: dict[tuple[int, int, str], list[Any]] = {}
        self._news: list[NewValue] = []
        self._passing: list[Passing] = []
        self._expiry: dict[int | None, tuple[str, float]] = {}

    def place(self, publication: Publication, stream: str) -> Placed:
        type = self._types.get((publication.app_id, publication.name))
        if not type:
            return ProtocolError("unknown_name")
        log = self._logs.get((publication.app_id, stream))
        if not log:
            return self._no_such_stream(type, stream)
        if log.closed and not (type.delivery == rules.EVERY and (log.id, publication.dedup_id) in self._known):
            return ProtocolError("stream_closed")
        if type.delivery == rules.EVERY:
            return self._every(publication, type, log)
        if type.delivery == rules.LATEST:
            return self._latest(publication, type, log)
        if not self._takes(type, log, type.priority):
            log.shed += 1
            return Stored(log.name, shed=True)
        text = wire.transient_item(
            stream=log.name,
            name=publication.name,
            time=self._time,
            service=publication.service,
            payload=publication.payload,
        )
        self._passing.append(Passing(log.id, text))
        return Stored(log.name)

    def _takes(self, type: Type, log: Log, priority: str) -> bool:
        """Whether the room takes one more message now, under its app's rate.

        A `latest` value is never shed: it costs storage once, and every connection conflates it by itself.
        """
        if type.room_rate is None or not log.name.startswith("room:"):
            return True
        busy_until = shedding.admitted(
            priority=priority, busy_until=log.busy_until, now=self._now.timestamp(), rate=type.room_rate
        )
        if busy_until is None:
            return False
        log.busy_until = busy_until
        log.touched = True
        return True

    def _no_such_stream(self, type: Type, stream: str) -> Placed:
        kind = logs.kind_of(stream)
        if kind is None:
            return ProtocolError("unknown_stream", "A stream is device:NAME, user:NAME or room:NAME.")
        if kind == "device":
            return ProtocolError("unknown_device")
        return Stored(stream)  # a transient message to nobody

    def _expires(self, ttl: int | None) -> tuple[str, float]:
        known = self._expiry.get(ttl)
        if known is None:
            moment = self._now + timedelta(seconds=settings.MEANWHILE_TTL if ttl is None else ttl)
            known = self._expiry[ttl] = (sql.stamp(moment), moment.timestamp())
        return known

    def _every(self, publication: Publication, type: Type, log: Log) -> Placed:
        if publication.dedup_id:
            first = self._known.get((log.id, publication.dedup_id))
            if first:
                if first[1:] != (type.id, publication.payload):
                    return ProtocolError("id_mismatch")
                return Stored(log.name, offset=first[0])
        size = storage.size_of(publication.payload)
        if not type.space.fits(size):
            return ProtocolError("storage_full")
        log.head += 1
        offset = log.head
        if not self._takes(type, log, type.priority):
            # Not under its dedup_id: a repeat is another attempt.
            log.shed += 1
            log.gaps.append(offset)
            return Stored(log.name, offset=offset, shed=True)
        if publication.dedup_id:
            self._known[log.id, publication.dedup_id] = (offset, type.id, publication.payload)
        type.space.add(size)
        expires_at, expires = self._expires(publication.ttl or type.ttl)
        self._messages.append(
            (log.id, offset, type.id, publication.service_id, expires_at, publication.dedup_id, publication.payload)
        )
        text = wire.message_item(
            stream=log.name,
            offset=offset,
            name=publication.name,
            time=self._time,
            service=publication.service,
            payload=publication.payload,
            stops=type.stops,
        )
        log.items.append(Item(offset, text, expires))
        return Stored(log.name, offset=offset)

    def _latest(self, publication: Publication, type: Type, log: Log) -> Placed:
        place = (log.id, type.id, publication.key)
        earlier = self._values.get(place)
        replaced = storage.size_of(earlier[-1]) if earlier else 0
        size = storage.size_of(publication.payload)
        if not type.space.fits(size - replaced) and size > (replaced or self._stored_size(place)):
            return ProtocolError("storage_full")
        type.space.take(size - replaced)
        self._takes(type, log, shedding.CONTROL)
        log.version += 1
        log.touched = True
        version = log.version
        expires_at, _ = self._expires(publication.ttl or type.ttl)
        times = earlier[5] + 1 if earlier else 1
        self._values[place] = [*place, publication.service_id, version, times, expires_at, publication.payload]
        self._news.append(
            NewValue(
                log.id,
                log.name,
                f"{type.id}/{publication.key}",
                publication.name,
                publication.key,
                version,
                self._time,
                publication.service,
                publication.payload,
            )
        )
        return Stored(log.name, version=version)

    def _stored_size(self, place: tuple[int, int, str]) -> int:
        """What the stored value of a key takes: in a full app, one that is no larger may replace it."""
        found = sql.run(
            f"SELECT {storage.size_in_sql('payload')} FROM messaging_latestvalue"
            " WHERE stream_id = %s AND type_id = %s AND key = %s",
            *place,
        )
        return int(found[0][0]) if found else 0

    def write(self, effects: Effects) -> None:
        changed = [log for log in self._logs.values() if log.items or log.touched or log.shed]
        stamp = sql.stamp(self._now)
        if self._messages:
            source = sql.rows(
                "r",
                stream_id="bigint",
                place="bigint",
                type_id="bigint",
                service_id="bigint",
                expires_at="timestamptz",
                dedup_id="text",
                payload="text",
            )
            sql.run(
                "INSERT INTO messaging_message"
                ' (stream_id, "offset", type_id, service_id, published_at, expires_at, dedup_id, payload)'
                f" SELECT r.stream_id, r.place, r.type_id, r.service_id, {sql.moment()}, r.expires_at, r.dedup_id,"
                f" r.payload FROM {source}",
                stamp,
                sql.packed(self._messages),
            )
        grown = self._write_values(stamp) if self._values else []
        if changed:
            source = sql.rows("r", id="bigint", head="bigint", version="bigint", busy_until="float8", shed="bigint")
            sql.run(
                "UPDATE messaging_stream SET head = r.head, version = r.version, busy_until = r.busy_until,"
                f" shed = messaging_stream.shed + r.shed FROM {source} WHERE messaging_stream.id = r.id",
                sql.packed((log.id, log.head, log.version, log.busy_until, log.shed) for log in changed),
            )
        self._count(changed, grown)
        shed = [(log.id, *run) for log in changed for run in rules.runs(log.gaps)]
        if shed:
            gaps.record_shed(shed, at=self._now)
        if changed:
            effects.stored = lineage.count(len(self._messages) + len(self._news))
        effects.appended.extend(
            Appended(log.id, log.name, log.items, log.head) for log in changed if log.items or log.gaps
        )
        effects.values.extend(self._news)
        effects.passing.extend(self._passing)

    def _count(self, changed: Sequence[Log], grown: Sequence[tuple[int, int]]) -> None:
        """Says by how much the apps' storage has grown."""
        apps = {log.id: log.app_id for log in changed}
        added = {app: type.space.added for (app, _), type in self._types.items()}
        for stream, size in grown:
            added[apps[stream]] += size
        storage.changed(added)

    def _write_values(self, stamp: str) -> list[tuple[Any, ...]]:
        """→ (stream, by how many bytes a value has grown)"""
        source = sql.rows(
            "r",
            stream_id="bigint",
            type_id="bigint",
            key="text",
            service_id="bigint",
            version="bigint",
            times="bigint",
            expires_at="timestamptz",
            payload="text",
        )
        return sql.run(
            "INSERT INTO messaging_latestvalue"
            " (stream_id, type_id, key, service_id, version, revision, published_at, expires_at, payload, grown)"
            f" SELECT r.stream_id, r.type_id, r.key, r.service_id, r.version, r.times, {sql.moment()}, r.expires_at,"
            f" r.payload, {storage.size_in_sql('r.payload')} FROM {source} WHERE true"
            " ON CONFLICT (stream_id, type_id, key) DO UPDATE SET service_id = excluded.service_id,"
            " version = excluded.version, revision = messaging_latestvalue.revision + excluded.revision,"
            " published_at = excluded.published_at, expires_at = excluded.expires_at, payload = excluded.payload,"
            f" grown = {sql.octets('excluded.payload')} - {sql.octets('messaging_latestvalue.payload')}"
            " RETURNING stream_id, grown",
            stamp,
            sql.packed(self._values.values()),
        )
