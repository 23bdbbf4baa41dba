"""The repair round: sessions are compared with the database. What a lost wake-up left out is made good (P10)."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Protocol

from msgspec import Struct

from apps_registry.models import ServiceKey
from messaging.live.hub import Hub
from messaging.live.reader import Reader
from messaging.live.session import Session
from messaging.log import reading, sql
from messaging.protocol import rules, wire

#: Streams or devices of one query.
CHUNK = 2000


class Standing(Struct):
    """A device as the database sees it."""

    generation: int
    state: str
    state_seq: int
    streams: int
    subscriptions: int
    token_version: int
    revoked: bool


def changed_standings(sessions: Collection[Session]) -> dict[int, Standing | None]:
    """The devices of which something else is true than their sessions believe; None: the device is gone.

    One query; rows only for those.
    """
    source = sql.rows(
        "r",
        id="bigint",
        generation="bigint",
        state_seq="bigint",
        streams="bigint",
        subscriptions="bigint",
        token="bigint",
    )
    # Number and sum together: who is taken out of one stream and put into another, or into the same anew, has a higher
    # id there than all before.
    streams, subscriptions = (
        f"(SELECT {what} FROM messaging_subscription u WHERE u.device_id = r.id)"
        for what in ("count(*)", "CAST(coalesce(sum(u.id), 0) AS bigint)")
    )
    rows = sql.run(
        f"SELECT r.id, d.id, p.generation, p.state, p.state_seq, {streams}, {subscriptions}, d.token_version,"
        " d.revoked_at IS NOT NULL"
        f" FROM {source} LEFT JOIN apps_registry_device d ON d.id = r.id"
        " LEFT JOIN messaging_presence p ON p.device_id = d.id"
        " WHERE d.id IS NULL OR d.revoked_at IS NOT NULL OR d.token_version <> r.token"
        f" OR p.generation <> r.generation OR p.state_seq <> r.state_seq OR r.streams <> {streams}"
        f" OR r.subscriptions <> {subscriptions}",
        sql.packed((s.device_id, s.generation, s.state_seq, *s.memberships, s.token_version) for s in sessions),
    )
    return {id: None if found is None else Standing(*sql.truth(place)) for id, found, *place in rows}


class Caller(Protocol):
    """A service's connection."""

    @property
    def key_id(self) -> int: ...

    def bye(self, code: str, *, detail: str = "", retry_after_ms: int = 0) -> None: ...

    def check(self, now: float) -> None: ...


async def keys(callers: Collection[Caller], reader: Reader) -> None:
    """Ends the connections whose key has been revoked."""
    open_ids = {caller.key_id for caller in callers}
    if not open_ids:
        return
    valid = await reader.ask(
        lambda: set(ServiceKey.objects.filter(pk__in=open_ids, revoked_at=None).values_list("pk", flat=True))
    )
    for caller in list(callers):
        if caller.key_id in open_ids - valid:
            caller.bye("bad_key", detail="The key has been revoked.")


async def streams(hub: Hub, reader: Reader, only: Collection[int] | None = None) -> None:
    """Compares heads, versions, epochs and closings of the streams that have sessions here."""
    wanted = [id for id in (hub.streams if only is None else only) if id in hub.streams]
    for start in range(0, len(wanted), CHUNK):
        here = [hub.streams[id] for id in wanted[start : start + CHUNK] if id in hub.streams]
        known = [reading.Known(s.id, s.head, s.tail, s.version, s.epoch, s.closed) for s in here]
        found = await reader.ask(lambda known=known: reading.news_of(known))  # type: ignore[misc]
        for id, head in found.items():
            _compare(hub, id, head)
    if only is None:
        hub.ask_again()
        await _cursors(hub, reader)


def _compare(hub: Hub, id: int, head: reading.Head) -> None:
    stream = hub.streams.get(id)
    if stream is None:
        return
    stream.wake()
    sessions = [way.session for way in stream.ways.values()]
    if head.epoch != stream.epoch:
        hub.expel(stream)
        return
    stream.raised(head.tail)
    stream.closed = head.closed
    stream.seen(head.head)
    for session in sessions:
        session.pump()
    if head.version > stream.version:
        stream.version = head.version
        for session in sessions:
            hub.owe(session)


async def _cursors(hub: Hub, reader: Reader) -> None:
    """Results that came through another process end a hold here, and open a window that is full."""
    waiting = {
        way.subscription_id: way
        for session in hub.sessions.values()
        if session.holding or session.window.room <= 0
        for way in session.ways.values()
        if way.held or way.lane.waits
    }
    ids = list(waiting)
    for start in range(0, len(ids), CHUNK):
        believed = [(id, waiting[id].processed) for id in ids[start : start + CHUNK]]
        found = await reader.ask(lambda believed=believed: reading.moved(believed))  # type: ignore[misc]
        for id, processed in found.items():
            way = waiting[id]
            if way.current:
                way.session.advanced(way, processed)
                way.session.pump()


async def devices(hub: Hub, reader: Reader, only: Collection[int] | None = None) -> None:
    """Compares generation, state and rights of the devices that have sessions here."""
    wanted = [id for id in (hub.sessions if only is None else only) if id in hub.sessions]
    for start in range(0, len(wanted), CHUNK):
        before = {id: hub.sessions[id] for id in wanted[start : start + CHUNK] if id in hub.sessions}
        found = await reader.ask(lambda before=before: changed_standings(before.values()))  # type: ignore[misc]
        for id, standing in found.items():
            if hub.sessions.get(id) is before[id]:
                _check(hub, before[id], standing)
        moved = [
            session
            for id, session in before.items()
            if not session.over
            and (
                only is not None
                or session.called_back
                or ((one := found.get(id)) and (one.streams, one.subscriptions) != session.memberships)
            )
        ]
        if moved:
            await _memberships(hub, reader, moved)


async def pulls(hub: Hub, reader: Reader) -> None:
    """Wakes the waiting pulls of devices that were put into streams, or taken out, since these were read."""
    waiting = [device for device, pulls in hub.watching.items() if any(pulls.values())]
    for start in range(0, len(waiting), CHUNK):
        chunk = waiting[start : start + CHUNK]
        found = await reader.ask(lambda chunk=chunk: reading.subscriptions(chunk))  # type: ignore[misc]
        for device, subscriptions in found.items():
            for watcher, believed in hub.watching.get(device, {}).items():
                if believed is not None and believed != subscriptions:
                    watcher.set()


async def _memberships(hub: Hub, reader: Reader, sessions: Collection[Session]) -> None:
    """A service put devices into rooms or took them out: the open connections follow."""
    before = {session: session.departures for session in sessions}
    found = await reader.ask(lambda: reading.entries([session.device_id for session in sessions]))
    for session in sessions:
        if session.departures != before[session]:
            continue  # it left a stream that was read as its own: the next look is right
        entries = {entry.stream: entry for entry in found[session.device_id]}
        for name, way in list(session.ways.items()):
            # Taken out and put in again, it has a new place in the stream.
            if not session.over and (name not in entries or entries[name].subscription_id != way.subscription_id):
                hub.take_out(session, name)
        for name in sorted(set(entries) - set(session.ways)):
            if not session.over:
                session.link.send(wire.frame("joined", **entries[name].as_frame()))
                hub.join(session, entries.pop(name))
        if session.called_back and not session.over:
            session.called_back = False
            if session.state == rules.FOREGROUND:
                hub.resume(session, list(entries.values()))


def _check(hub: Hub, session: Session, standing: Standing | None) -> None:
    if standing is None or standing.revoked:
        session.link.bye("device_revoked")
    elif standing.token_version != session.token_version:
        session.link.bye("token_expired", detail="The token has been made void; come back with a new one.")
    elif standing.generation > session.generation:
        hub.taken_over(session.device_id, time.monotonic())
        hub.drop(session)
        session.link.bye("superseded")
    elif standing.state_seq > session.state_seq:
        # A notice that came over HTTP, or through another process.
        session.set_state(standing.state, standing.state_seq)
        # In the other modes the client pulls up to the cut it was answered with: a later one here would leave a hole.
        session.called_back = standing.state == rules.FOREGROUND and session.mode == "replay"
        session.pump()
        hub.owe(session)
