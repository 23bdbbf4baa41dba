"""Who reads which stream. A member costs one row, a room message costs one row however many members there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from messaging.log import logs, online, sql
from messaging.log.reading import Entry, entries
from messaging.models import Stream, new_epoch
from messaging.protocol import rules
from messaging.protocol.names import stream_kind


class History(NamedTuple):
    """What a newcomer gets of what was published before it came: the last so many, or what came since a moment."""

    last: int | None = None
    since: datetime | None = None


@transaction.atomic
def set_room(*, app_id: int, room: str, history: History | None) -> bool:
    """Says what newcomers get of a room's past, where nothing is said for one of them. → whether the room is new."""
    created = logs.create([(app_id, stream_kind(room), room, new_epoch())])
    Stream.objects.filter(app=app_id, name=room).update(
        history_last=history and history.last, history_since=history and history.since
    )
    return bool(created)


def subscribe(members: Sequence[tuple[int, int, str]], history: History | None = None) -> None:
    """Puts devices into streams: (app, device, stream name). Makes streams that are missing.

    Inside a transaction; idempotent: who is in keeps its cursors. A newcomer starts at the head (P2: it gets what is
    published from now on), in rooms as far back as its history says, or else the room's, and the room still holds.
    """
    if not members:
        return
    names = {(app, stream) for app, _, stream in members}
    logs.create([(app, stream_kind(stream), stream, new_epoch()) for app, stream in names])
    source = sql.rows("r", app_id="bigint", name="text")
    # The stream's row is locked first: a publish of another process is wholly before or wholly after the join.
    locked = sql.run(
        "SELECT s.id, s.app_id, s.name, s.head, s.tail, s.history_last, s.history_since"
        f" FROM {source} JOIN messaging_stream s ON s.app_id = r.app_id AND s.name = r.name"
        f" ORDER BY s.id{sql.lock('s')}",
        sql.packed(sorted(names)),
    )
    starts = {id: head for id, _, _, head, *_ in locked}
    rooms: dict[History, list[tuple[int, int, int]]] = {}
    for id, _, name, head, tail, last, since in locked:
        wanted = history or (None if last is since is None else History(last, sql.moment_of(since)))
        if wanted and stream_kind(name) == "room":
            rooms.setdefault(wanted, []).append((id, head, tail))
    for wanted, found in rooms.items():
        starts.update(_starts(found, wanted))
    ids = {(app, name): id for id, app, name, *_ in locked}
    source = sql.rows("r", device_id="bigint", stream_id="bigint", place="bigint")
    sql.run(
        "INSERT INTO messaging_subscription (device_id, stream_id, processed, received, latest_received, joined_offset)"
        f" SELECT r.device_id, r.stream_id, r.place, r.place, 0, r.place FROM {source}"
        " WHERE true ON CONFLICT (device_id, stream_id) DO NOTHING",
        sql.packed((device, ids[app, name], starts[ids[app, name]]) for app, device, name in members),
    )
    online.count_now_if_here({device for _, device, _ in members})


def _starts(rooms: Sequence[tuple[int, int, int]], history: History) -> dict[int, int]:
    """By room, of (id, head, tail): after which offset a newcomer begins."""
    before: dict[int, int | None] = {}
    if history.since is not None:
        source = sql.rows("r", id="bigint")
        # From the head back: as many rows as the newcomer is going to get.
        before = dict(
            sql.run(
                'SELECT r.id, (SELECT m."offset" FROM messaging_message m WHERE m.stream_id = r.id'
                f' AND m.published_at < {sql.moment()} ORDER BY m."offset" DESC LIMIT 1) FROM {source}',
                sql.stamp(history.since),
                sql.packed((id,) for id, _, _ in rooms),
            )
        )
    return {
        id: rules.start_of_newcomer(
            head=head,
            tail=tail,
            after=(before[id] or 0) if history.last is None else head - history.last,
        )
        for id, head, tail in rooms
    }


def unsubscribe(members: Collection[tuple[int, str]]) -> int:
    """Takes devices out of streams: (device, stream name). Their cursors are gone with it; idempotent."""
    online.count_now_if_here({device for device, _ in members})
    source = sql.rows("r", device_id="bigint", name="text")
    found = sql.run(
        f"SELECT u.id FROM {source} JOIN messaging_subscription u ON u.device_id = r.device_id"
        " JOIN messaging_stream s ON s.id = u.stream_id AND s.name = r.name",
        sql.packed(members),
    )
    gone = sql.packed(found)
    source = sql.rows("r", id="bigint")
    sql.run(f"DELETE FROM messaging_latestreceipt WHERE subscription_id IN (SELECT r.id FROM {source})", gone)
    return sql.change(f"DELETE FROM messaging_subscription WHERE id IN (SELECT r.id FROM {source})", gone)


def entry_of(device: int, stream: str) -> Entry | None:
    """The device's entry of one stream, or None."""
    return next((entry for entry in entries([device])[device] if entry.stream == stream), None)
