"""How many members of a room are on line, for apps with a `latest` type named `room.online`.

Whoever comes, goes, joins or leaves makes their rooms due; a round counts the due ones and publishes what changed. The
marks are rows of the transaction that moved the presence: a server that is killed in between forgets none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from messaging.log import append, sql
from messaging.log.append import Publication
from messaging.log.effects import Effects

NAME = "room.online"
#: Rooms of one round. LIMIT: a count reads every member of the room, once a round at most.
MOST = 100

_HERE = " JOIN messaging_presence p ON p.device_id = r.id AND p.state <> 'offline'"


def count_now(devices: Collection[int]) -> None:
    """The rooms of these devices are due: inside the transaction that took them on line, or their lease."""
    _mark(devices, 0)


def count_now_if_here(devices: Collection[int]) -> None:
    """As `count_now`, for those that are on line: inside the transaction that put them into rooms or takes them out."""
    _mark(devices, 0, _HERE)


def count_later(devices: Collection[int]) -> None:
    """The rooms are due when the leave delay is over: who is back by then was never gone."""
    _mark(devices, settings.MEANWHILE_LEAVE_DELAY)


def _mark(devices: Collection[int], delay: float, which: str = "") -> None:
    if not devices:
        return
    source = sql.rows("r", id="bigint")
    sql.run(
        "INSERT INTO messaging_roomonline (stream_id, due_at)"
        f" SELECT DISTINCT s.id, {sql.moment()} FROM {source}{which}"
        " JOIN messaging_subscription u ON u.device_id = r.id"
        " JOIN messaging_stream s ON s.id = u.stream_id AND s.kind = 'room' AND s.closed_at IS NULL"
        " JOIN apps_registry_messagetype t ON t.app_id = s.app_id AND t.name = %s AND t.delivery = 'latest'"
        " WHERE true ORDER BY s.id"
        " ON CONFLICT (stream_id) DO UPDATE SET due_at = CASE WHEN messaging_roomonline.due_at < excluded.due_at"
        " THEN messaging_roomonline.due_at ELSE excluded.due_at END",
        sql.stamp(sql.now() + timedelta(seconds=delay)),
        sql.packed((device,) for device in sorted(devices)),
        NAME,
    )


def publish_due(effects: Effects, *, most: int = MOST) -> int:
    """One round: counts at most so many rooms that are due, publishes the counts that changed. → rooms counted.

    A transaction of its own where something is due; several processes may run it at once.
    """
    due = sql.run(
        f"SELECT stream_id FROM messaging_roomonline WHERE due_at <= {sql.moment()} ORDER BY due_at LIMIT %s",
        sql.stamp(sql.now()),
        most,
    )
    if not due:
        return 0
    with transaction.atomic():
        return _count(due, effects)


def _count(due: Sequence[tuple[int]], effects: Effects) -> int:
    now = sql.now()
    mine = sql.packed(_lock(due, now))
    since = now - timedelta(seconds=settings.MEANWHILE_LEAVE_DELAY)
    source = sql.rows("r", id="bigint")
    rows = sql.run(
        "SELECT s.id, s.app_id, s.name, o.online,"
        f" count(CASE WHEN p.state <> 'offline' OR p.last_seen > {sql.moment()} THEN 1 END),"
        f" min(CASE WHEN p.state = 'offline' AND p.last_seen > {sql.moment()} THEN p.last_seen END),"
        " s.closed_at IS NULL AND EXISTS (SELECT 1 FROM apps_registry_messagetype t"
        "  WHERE t.app_id = s.app_id AND t.name = %s AND t.delivery = 'latest')"
        f" FROM {source} JOIN messaging_stream s ON s.id = r.id JOIN messaging_roomonline o ON o.stream_id = s.id"
        " LEFT JOIN messaging_subscription u ON u.stream_id = s.id"
        " LEFT JOIN messaging_presence p ON p.device_id = u.device_id"
        " GROUP BY s.id, s.app_id, s.name, s.closed_at, o.online ORDER BY s.id",
        sql.stamp(since),
        sql.stamp(since),
        NAME,
        mine,
    )
    changed = [
        Publication(app, None, None, [name], NAME, f'{{"online":{count}}}')
        for _, app, name, online, count, _, wanted in rows
        if wanted and count != online
    ]
    if changed:
        append.append(changed, effects)
    source = sql.rows("r", id="bigint", online="bigint", due_at="timestamptz")
    sql.run(
        f"UPDATE messaging_roomonline SET online = r.online, due_at = r.due_at FROM {source}"
        " WHERE messaging_roomonline.stream_id = r.id",
        sql.packed((id, count, _next(leaving)) for id, _, _, _, count, leaving, _ in rows),
    )
    return len(rows)


def _lock(due: Sequence[tuple[int]], now: datetime) -> list[tuple[Any, ...]]:
    """Those still due, locked: streams first, as whoever publishes. Another process's round, or a mark that is being
    made, is not waited for: it is found by the next round."""
    source = sql.rows("r", id="bigint")
    packed = sql.packed(due)
    sql.run(
        f"SELECT s.id FROM {source} JOIN messaging_stream s ON s.id = r.id ORDER BY s.id{sql.lock('s')}",
        packed,
    )
    skip = " SKIP LOCKED" if sql.is_postgres() else ""
    return sql.run(
        f"SELECT o.stream_id FROM {source} JOIN messaging_roomonline o ON o.stream_id = r.id"
        f" AND o.due_at <= {sql.moment()} ORDER BY o.stream_id{sql.lock('o')}{skip}",
        packed,
        sql.stamp(now),
    )


def _next(leaving: str | datetime | None) -> str | None:
    """When the next of those who are leaving has left."""
    if leaving is None:
        return None
    moment = datetime.fromisoformat(leaving).replace(tzinfo=UTC) if isinstance(leaving, str) else leaving
    return sql.stamp(moment + timedelta(seconds=settings.MEANWHILE_LEAVE_DELAY))
