"""Where devices are. A state is set by its connection's generation and cleared only by the same, or by expiry."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from msgspec import Struct

from messaging import failpoints
from messaging.log import online, returns, sql, whereabouts
from messaging.log.effects import Effects
from messaging.log.reading import Entry, entries
from messaging.log.returns import Return
from messaging.protocol import rules
from messaging.protocol.errors import ProtocolError


class Arrival(Struct):
    """A device's hello."""

    device_id: int
    state: str
    state_seq: int
    mode: str
    node: str


class Here(Struct):
    """What the device is after a hello or a notice, and where its streams stand (the cut)."""

    generation: int
    state: str
    state_seq: int
    entries: list[Entry]


class NoticeGiven(Struct):
    """A device says which state it is in. `generation` is its connection's; None over HTTP, which speaks for all."""

    device_id: int
    state: str
    state_seq: int
    generation: int | None = None
    mode: str = "pull"


class Departure(Struct):
    device_id: int
    generation: int


_Row = list[Any]  # device, state, state_seq, generation


def _lock(devices: Collection[int]) -> dict[int, _Row]:
    """The presence rows, locked in device order; made where missing."""
    packed = sql.packed((device,) for device in sorted(set(devices)))
    source = sql.rows("r", id="bigint")
    sql.run(
        "INSERT INTO messaging_presence (device_id, state, state_seq, generation, node)"
        f" SELECT r.id, 'offline', 0, 0, '' FROM {source} WHERE true ON CONFLICT (device_id) DO NOTHING",
        packed,
    )
    found = sql.run(
        "SELECT p.device_id, p.state, p.state_seq, p.generation"
        f" FROM {source} JOIN messaging_presence p ON p.device_id = r.id ORDER BY p.device_id{sql.lock('p')}",
        packed,
    )
    return {row[0]: list(row) for row in found}


def enter(arrivals: Sequence[Arrival], effects: Effects) -> list[Here | ProtocolError]:
    """Takes connections in: each gets the next generation of its device, and its state is taken as said.

    Inside a transaction. The newest connection wins; the sessions of older ones learn it from `effects.devices`.
    """
    rows = _lock([arrival.device_id for arrival in arrivals])
    moment = sql.now()
    now = sql.stamp(moment)
    taken: list[_Row] = []
    taken_over: set[int] = set()
    came: set[int] = set()
    changed: set[int] = set()
    for arrival in arrivals:
        row = rows[arrival.device_id]
        if row[1] != arrival.state:
            changed.add(arrival.device_id)
        if row[1] != rules.OFFLINE:
            taken_over.add(arrival.device_id)
        else:
            came.add(arrival.device_id)
        row[1:] = [arrival.state, arrival.state_seq, row[3] + 1]
        taken.append([*row, arrival.node])
    source = sql.rows("r", id="bigint", state="text", seq="bigint", generation="bigint", node="text")
    sql.run(
        "UPDATE messaging_presence SET state = r.state, state_seq = r.seq, generation = r.generation, node = r.node,"
        f" last_seen = {sql.moment()}, connected_at = {sql.moment()}, {_changed_at()} FROM {source}"
        " WHERE messaging_presence.device_id = r.id",
        now,
        now,
        now,
        sql.packed({row[0]: row for row in taken}.values()),
    )
    online.count_now(came)
    places = entries({arrival.device_id for arrival in arrivals})
    here: list[Here | ProtocolError] = []
    back = []
    for arrival, (_, _, _, generation, _) in zip(arrivals, taken, strict=True):
        found = places[arrival.device_id]
        here.append(Here(generation, arrival.state, arrival.state_seq, found))
        if arrival.state == rules.FOREGROUND:
            back.append(Return(arrival.device_id, generation, arrival.mode, "connect", found))
    returns.interrupt(arrival.device_id for arrival in arrivals)
    returns.begin(back, at=moment)
    effects.devices.extend(taken_over)
    whereabouts.tell_now(changed, effects)
    failpoints.hit("hello.before_commit")
    return here


def notice(given: Sequence[NoticeGiven], effects: Effects) -> list[Here | ProtocolError]:
    """Takes notices. One that is not newer than what is stored changes nothing and gets the current state.

    Inside a transaction; idempotent. Of an older generation: `superseded`.
    """
    rows = _lock([one.device_id for one in given])
    moment = sql.now()
    now = sql.stamp(moment)
    outcomes: list[Here | ProtocolError] = []
    changed: dict[int, _Row] = {}
    moved: set[int] = set()
    foreground: list[tuple[int, NoticeGiven]] = []
    for place, one in enumerate(given):
        row = rows[one.device_id]
        if one.generation is not None and one.generation != row[3]:
            outcomes.append(ProtocolError("superseded"))
            continue
        if one.state_seq > row[2] and (one.generation is not None or row[1] != rules.OFFLINE):
            if row[1] != one.state:
                moved.add(one.device_id)
            row[1], row[2] = one.state, one.state_seq
            changed[one.device_id] = row
        outcomes.append(Here(row[3], row[1], row[2], []))
        if row[1] == rules.FOREGROUND == one.state:
            foreground.append((place, one))
    if changed:
        source = sql.rows("r", id="bigint", state="text", seq="bigint", generation="bigint")
        sql.run(
            f"UPDATE messaging_presence SET state = r.state, state_seq = r.seq, last_seen = {sql.moment()},"
            f" {_changed_at()} FROM {source} WHERE messaging_presence.device_id = r.id",
            now,
            now,
            sql.packed(changed.values()),
        )
    if foreground:
        places = entries({one.device_id for _, one in foreground})
        back = []
        for place, one in foreground:
            here = outcomes[place]
            assert isinstance(here, Here)
            here.entries = places[one.device_id]
            if one.device_id in changed:
                back.append(Return(one.device_id, here.generation, one.mode, "notice", here.entries))
        returns.interrupt(one.device_id for one in back)
        returns.begin(back, at=moment)
    effects.devices.extend(changed)
    whereabouts.tell_now(moved, effects)
    failpoints.hit("notice.before_commit")
    return outcomes


def _changed_at() -> str:
    """SET … for the moment of the last change of state, where `r.state` is the new one."""
    return (
        f"changed_at = CASE WHEN messaging_presence.state <> r.state THEN {sql.moment()}"
        " ELSE messaging_presence.changed_at END"
    )


def leave(departures: Sequence[Departure], effects: Effects) -> None:
    """Marks devices offline whose connection of this very generation ended (not if a newer one took over).

    Nobody is told: that is for the rounds, when the leave delay is over (`whereabouts`, `online`).
    """
    packed = sql.packed((d.device_id, d.generation) for d in departures)
    source = sql.rows("r", id="bigint", generation="bigint")
    now = sql.stamp(sql.now())
    gone = sql.run(
        f"UPDATE messaging_presence SET state = 'offline', node = '', last_seen = {sql.moment()},"
        f" changed_at = {sql.moment()} FROM {source} WHERE messaging_presence.device_id = r.id"
        " AND messaging_presence.generation = r.generation AND messaging_presence.state <> 'offline'"
        " RETURNING device_id",
        now,
        now,
        packed,
    )
    online.count_later([device for (device,) in gone])
    returns.interrupt_of((d.device_id, d.generation) for d in departures)


def hold(devices: Collection[int]) -> None:
    """Locks the presence of all devices that a transaction will touch, in device order (see `cursors.hold`)."""
    if not sql.is_postgres() or len(devices) < 2:
        return
    source = sql.rows("r", id="bigint")
    sql.run(
        "SELECT p.device_id FROM messaging_presence p"
        f" WHERE p.device_id IN (SELECT r.id FROM {source}) ORDER BY p.device_id{sql.lock('p')}",
        sql.packed({(device,) for device in devices}),
    )


class Lease(Struct):
    """A connection that was heard of, and its state; "" leaves what is known."""

    device_id: int
    generation: int
    state: str = ""


def renew(held: Sequence[Lease], effects: Effects) -> list[None]:
    """Renews the leases of connections that were heard of. Inside a transaction.

    One that ran out all the same (the database was away for longer) had the device taken for offline: no more.
    """
    source = sql.rows("r", id="bigint", generation="bigint", state="text")
    now, packed = sql.stamp(sql.now()), sql.packed((h.device_id, h.generation, h.state) for h in held)
    mine = "messaging_presence.device_id = r.id AND messaging_presence.generation = r.generation"
    sql.run(f"UPDATE messaging_presence SET last_seen = {sql.moment()} FROM {source} WHERE {mine}", now, packed)
    back = sql.run(
        f"UPDATE messaging_presence SET state = r.state, changed_at = {sql.moment()} FROM {source}"
        f" WHERE {mine} AND messaging_presence.state = 'offline' AND r.state <> '' RETURNING device_id",
        now,
        packed,
    )
    came = {device for (device,) in back}
    whereabouts.tell_now(came, effects)
    online.count_now(came)
    return [None] * len(held)


class Polling(Struct):
    """A device's pull waits, or has waited. Where the device has no connection, this is its lease.

    told: the streams that the pull's answer says are closed; None: it is not read yet, and will say so.
    """

    device_id: int
    told: list[int] | None = None


def poll(polling: Sequence[Polling], effects: Effects) -> list[bool]:
    """Renews the leases and takes the offline ones for foreground. → whether a stream was closed since the last word.

    Inside a transaction. The closing of a stream is told once that way: a pull by itself remembers nothing. Who was
    answered before a closing was there to be read keeps its last word, and so is told at its next pull.
    LIMIT: on PostgreSQL a closing that is being committed in the very moment of a last word is told by the end of the
    next wait.
    """
    rows = _lock([one.device_id for one in polling])
    now = sql.stamp(sql.now())
    source = sql.rows("r", id="bigint")
    closings = sql.run(
        f"SELECT p.device_id, s.id FROM {source} JOIN messaging_presence p ON p.device_id = r.id"
        " JOIN messaging_subscription u ON u.device_id = r.id JOIN messaging_stream s ON s.id = u.stream_id"
        " WHERE s.closed_at > coalesce(p.last_seen, s.created_at)",
        sql.packed((device,) for device in rows),
    )
    for device in _answered_before(polling, closings):
        rows.pop(device, None)
    packed = sql.packed((device,) for device in rows)
    came = {device for device, state, *_ in rows.values() if state == rules.OFFLINE}
    sql.run(
        f"UPDATE messaging_presence SET last_seen = {sql.moment()}, changed_at = CASE WHEN state = 'offline'"
        f" THEN {sql.moment()} ELSE changed_at END, state = CASE WHEN state = 'offline' THEN 'foreground'"
        f" ELSE state END WHERE device_id IN (SELECT r.id FROM {source})",
        now,
        now,
        packed,
    )
    whereabouts.tell_now(came, effects)
    online.count_now(came)
    closed = {device for device, _ in closings}
    return [one.device_id in closed for one in polling]


def _answered_before(polling: Sequence[Polling], closings: Sequence[tuple[int, int]]) -> set[int]:
    """The devices whose pulls did not say all of these closings, and will not."""
    told: dict[int, set[int] | None] = {}
    for one in polling:
        before = told.get(one.device_id, set())
        told[one.device_id] = None if before is None or one.told is None else before | set(one.told)
    return {device for device, stream in closings if (said := told[device]) is not None and stream not in said}


@transaction.atomic
def expire(effects: Effects, *, lease: float) -> int:
    """Marks devices offline whose lease (s) ran out: their server was killed, or `disconnect` never came."""
    now = sql.now()
    # NOT (…), here and elsewhere, to the letter as in the index: SQLite does not see that <> is the same.
    gone = sql.run(
        f"UPDATE messaging_presence SET state = 'offline', node = '', changed_at = {sql.moment()}"
        f" WHERE NOT (state = 'offline') AND last_seen < {sql.moment()} RETURNING device_id",
        sql.stamp(now),
        sql.stamp(now - timedelta(seconds=lease)),
    )
    online.count_now([device for (device,) in gone])
    # Where the leave delay is longer than the lease.
    online.count_later([device for (device,) in gone])
    return len(gone)


def held_elsewhere(node: str, *, since: datetime) -> bool:
    """Whether another process than this node has renewed a lease since a moment."""
    return bool(
        sql.run(
            "SELECT 1 FROM messaging_presence WHERE NOT (state = 'offline') AND node <> '' AND node <> %s"
            f" AND last_seen > {sql.moment()} LIMIT 1",
            node,
            sql.stamp(since),
        )
    )
