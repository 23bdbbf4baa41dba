"""What a publish finds: the types of its apps, and its streams, locked. And the streams that it makes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from messaging.log import sql, storage
from messaging.log.effects import Item
from messaging.models import new_epoch
from messaging.protocol import rules
from messaging.protocol.errors import ProtocolError
from messaging.protocol.names import stream_kind

#: A stream or a type: app, name.
Key = tuple[int, str]


@dataclass(slots=True)
class Type:
    """A message type, with what its app says of it."""

    #: Of the app.
    space: storage.Space
    id: int
    delivery: str
    ttl: int | None
    priority: str
    #: Of the app: messages a second a room takes.
    room_rate: int | None
    #: Whether a stream waits where an app fails on such a message.
    stops: bool


@dataclass(slots=True)
class Log:
    """A locked stream, and what this transaction adds to it."""

    id: int
    app_id: int
    name: str
    head: int
    version: int
    closed: bool
    busy_until: float
    items: list[Item] = field(default_factory=list)
    touched: bool = False
    shed: int = 0
    #: Offsets of `every` messages among those.
    gaps: list[int] = field(default_factory=list)


def types_of(apps: set[int]) -> dict[Key, Type]:
    """All types of these apps: one query."""
    found = sql.run(
        "SELECT t.app_id, t.name, a.storage_limit, coalesce(u.stored, 0),"
        " t.id, t.delivery, t.ttl_seconds, t.priority, a.room_rate,"
        " t.on_failure = 'stop'"
        " FROM apps_registry_messagetype t JOIN apps_registry_app a ON a.id = t.app_id"
        " LEFT JOIN messaging_appstorage u ON u.app_id = a.id"
        f" WHERE t.app_id IN ({','.join(['%s'] * len(apps))})",
        *apps,
    )
    spaces: dict[int, storage.Space] = {}
    types = {}
    for app, name, limit, stored, *rest in found:
        if app not in spaces:
            spaces[app] = storage.Space(stored=stored, limit=limit)
        types[app, name] = Type(spaces[app], *sql.truth(rest))
    return types


def lock(wanted: Iterable[tuple[int, str, Type]]) -> dict[Key, Log]:
    """The streams (app, name) that types are published to, locked in id order.

    Rooms and users' streams are made when something that is stored is first published to them.
    """
    stored: dict[Key, bool] = {}
    for app, stream, type in wanted:
        stored[app, stream] = stored.get((app, stream), False) or type.delivery != rules.TRANSIENT
    logs = _lock(stored)
    missing = []
    for (app, stream), keeps in stored.items():
        if keeps and (app, stream) not in logs and kind_of(stream) in {"user", "room"}:
            missing.append((app, kind_of(stream), stream, new_epoch()))
    if missing:
        create(missing)
        logs = _lock(stored)
    return logs


def kind_of(stream: str) -> str | None:
    """None: no stream can have this name."""
    try:
        return stream_kind(stream)
    except ProtocolError:
        return None


def create(streams: Sequence[tuple[int, str | None, str, str]]) -> int:
    """Makes streams that do not exist yet: (app, kind, name, epoch). Idempotent. → how many

    Sorted: of two that make the same ones at once, one waits for the other.
    """
    source = sql.rows("r", app_id="bigint", kind="text", name="text", epoch="text")
    return sql.change(
        "INSERT INTO messaging_stream (app_id, kind, name, epoch, head, tail, version, busy_until, shed)"
        f" SELECT r.app_id, r.kind, r.name, r.epoch, 0, 1, 0, 0, 0 FROM {source} WHERE true"
        " ON CONFLICT (app_id, name) DO NOTHING",
        sql.packed(sorted(streams, key=lambda stream: (stream[0], stream[2]))),
    )


def _lock(keys: Iterable[Key]) -> dict[Key, Log]:
    source = sql.rows("r", app_id="bigint", name="text")
    found = sql.run(
        "SELECT s.id, s.app_id, s.name, s.head, s.version, s.closed_at IS NOT NULL, s.busy_until"
        f" FROM {source} JOIN messaging_stream s ON s.app_id = r.app_id AND s.name = r.name"
        f" ORDER BY s.id{sql.lock('s')}",
        sql.packed(keys),
    )
    return {
        (app, name): Log(id, app, name, head, version, bool(closed), busy_until)
        for id, app, name, head, version, closed, busy_until in found
    }
