"""How many members of a room are on line, for apps with a `latest` type named `room.online`.

Whoever comes, goes, joins or leaves makes their rooms due; a round counts the due ones and publishes what changed. The
marks are rows of the transaction that moved the presence: a server that is killed in between forgets none. Marks of
somebody who left are due when the leave delay is over.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from messaging.log import append, lineage, sql
from messaging.log.append import Publication
from messaging.log.effects import Effects

NAME = "room.online"
#: Rooms of one round. LIMIT: a count reads every member of the room, once a round at most.
MOST = 100

_HERE = " JOIN messaging_presence p ON p.device_id = r.id AND p.state <> 'offline'"
_GONE_SINCE = " JOIN messaging_presence p ON p.device_id = r.id AND p.state = 'offline' AND p.last_seen > "


def count_now(devices: Collection[int]) -> None:
    """The rooms of these devices are due: inside the transaction that took them on line, or their lease."""
    _mark(devices, 0)


def count_now_if_here(devices: Collection[int]) -> None:
    """As `count_now`, for those that are on line: inside the transaction that put them into rooms or takes them out."""
    _mark(devices, 0, _HERE)
    # Who has just gone still counts in a room that it is put into now; its going marked only those it was in.
    delay = settings.MEANWHILE_LEAVE_DELAY
    _mark(devices, delay, _GONE_SINCE + sql.moment(), sql.stamp(sql.now() - timedelta(seconds=delay)))


def count_later(devices: Collection[int]) -> None:
    """The rooms are due when the leave delay is over: who is back by then was never gone."""
    _mark(devices, settings.MEANWHILE_LEAVE_DELAY)


def _mark(devices: Collection[int], delay: float, which: str = "", *moments: str) -> None:
    if not devices:
        return
    source = sql.rows("r", id="bigint")
    sql.run(
        "INSERT INTO messaging_onlinedue (stream_id, due_at)"
        f" SELECT DISTINCT s.id, {sql.moment()} FROM {source}{which}"
        " JOIN messaging_subscription u ON u.device_id = r.id"
        " JOIN messaging_stream s ON s.id = u.stream_id AND s.kind = 'room' AND s.closed_at IS NULL"
        " JOIN apps_registry_messagetype t ON t.app_id = s.app_id AND t.name = %s AND t.delivery = 'latest'",
        sql.stamp(sql.now() + timedelta(seconds=delay)),
        sql.packed((device,) for device in devices),
        *moments,
        NAME,
    )


def publish_due(effects: Effects, *, most: int = MOST) -> int:
    """One round: counts at most so many rooms that are due, publishes the counts that changed. → rooms counted.

    A transaction of its own where something is due; several processes may run it at once.
    """
    now = sql.now()
    due = sql.run(
        f"SELECT stream_id FROM messaging_onlinedue WHERE due_at <= {sql.moment()}"
        " GROUP BY stream_id ORDER BY min(due_at) LIMIT %s",
        sql.stamp(now),
        most,
    )
    if not due:
        return 0
    with transaction.atomic():
        counted = _count(_taken(due, now), now, effects)
    lineage.remember(effects.stored)
    return counted


def _taken(due: Sequence[tuple[int]], now: datetime) -> set[int]:
    """Those of the rooms that are still due, with their streams locked; their marks are removed.

    A mark that is being made meanwhile is not seen here: it is found by the next round, after its presence.
    """
    source = sql.rows("r", id="bigint")
    packed = sql.packed(due)
    sql.run(
        f"SELECT s.id FROM {source} JOIN messaging_stream s ON s.id = r.id ORDER BY s.id{sql.lock('s')}",
        packed,
    )
    removed = sql.run(
        f"DELETE FROM messaging_onlinedue WHERE due_at <= {sql.moment()}"
        f" AND stream_id IN (SELECT r.id FROM {source}) RETURNING stream_id",
        sql.stamp(now),
        packed,
    )
    return {stream for (stream,) in removed}


def _count(rooms: Collection[int], now: datetime, effects: Effects) -> int:
    source = sql.rows("r", id="bigint")
    rows = sql.run(
        "SELECT s.id, s.app_id, s.name, o.online,"
        f" count(CASE WHEN p.state <> 'offline' OR p.last_seen > {sql.moment()} THEN 1 END)"
        f" FROM {source} JOIN messaging_stream s ON s.id = r.id AND s.closed_at IS NULL"
        " JOIN apps_registry_messagetype t ON t.app_id = s.app_id AND t.name = %s AND t.delivery = 'latest'"
        " LEFT JOIN messaging_roomonline o ON o.stream_id = s.id"
        " LEFT JOIN messaging_subscription u ON u.stream_id = s.id"
        " LEFT JOIN messaging_presence p ON p.device_id = u.device_id"
        " GROUP BY s.id, s.app_id, s.name, o.online ORDER BY s.id",
        sql.stamp(now - timedelta(seconds=settings.MEANWHILE_LEAVE_DELAY)),
        sql.packed((room,) for room in rooms),
        NAME,
    )
    changed = [(id, app, name, count) for id, app, name, before, count in rows if count != before]
    if changed:
        placed = append.append(
            [Publication(app, None, None, [name], NAME, f'{{"online":{count}}}') for _, app, name, count in changed],
            effects,
        )
        # What was refused (the app's storage is full) was not said: it is when somebody comes or goes.
        changed = [one for one, (place,) in zip(changed, placed, strict=True) if isinstance(place, append.Stored)]
        source = sql.rows("r", id="bigint", online="bigint")
        sql.run(
            f"INSERT INTO messaging_roomonline (stream_id, online) SELECT r.id, r.online FROM {source} WHERE true"
            " ON CONFLICT (stream_id) DO UPDATE SET online = excluded.online",
            sql.packed((id, count) for id, _, _, count in changed),
        )
    return len(rooms)
