"""The repair round: sessions are compared with the database. What a lost wake-up left out is made good (P10)."""

from __future__ import annotations

import time
from collections.abc import Collection

from msgspec import Struct

from messaging.live.hub import Hub
from messaging.live.reader import Reader
from messaging.live.session import Session
from messaging.log import reading, sql
from messaging.protocol import wire

#: Streams or devices of one query.
CHUNK = 2000


class Standing(Struct):
    """A device as the database sees it."""

    generation: int
    state: str
    state_seq: int
    streams: int
    revoked: bool


def standings(devices: Collection[int]) -> dict[int, Standing]:
    """Presence and rights of devices. One query; devices that are gone are missing."""
    source = sql.rows("r", id="bigint")
    rows = sql.run(
        "SELECT d.id, p.generation, p.state, p.state_seq,"
        " (SELECT count(*) FROM messaging_subscription u WHERE u.device_id = d.id), d.revoked_at IS NOT NULL"
        f" FROM {source} JOIN apps_registry_device d ON d.id = r.id JOIN messaging_presence p ON p.device_id = d.id",
        sql.packed((device,) for device in devices),
    )
    return {id: Standing(*sql.truth(place)) for id, *place in rows}


async def streams(hub: Hub, reader: Reader, only: Collection[int] | None = None) -> None:
    """Compares heads, versions, epochs and closings of the streams that have sessions here."""
    wanted = [id for id in (hub.streams if only is None else only) if id in hub.streams]
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        found = await reader.ask(lambda chunk=chunk: reading.heads(chunk))  # type: ignore[misc]
        for id, head in found.items():
            _compare(hub, id, head)
    if only is None:
        await _holds(hub, reader)


def _compare(hub: Hub, id: int, head: reading.Head) -> None:
    stream = hub.streams.get(id)
    if stream is None:
        return
    sessions = [way.session for way in stream.ways.values()]
    if head.epoch != stream.epoch:
        # Another history: every device of the stream must come back and hear `reset`.
        for session in sessions:
            session.link.bye("restart", detail="The history of a stream is another one now.")
        return
    stream.tail = head.tail
    stream.closed = head.closed
    stream.seen(head.head)
    for session in sessions:
        session.pump()
    if head.version > stream.version:
        stream.version = head.version
        for session in sessions:
            hub.run(hub.send_unread(session))


async def _holds(hub: Hub, reader: Reader) -> None:
    """Results that came through another process end a hold here."""
    holding = {id: session for id, session in hub.sessions.items() if session.holding}
    if not holding:
        return
    found = await reader.ask(lambda: reading.entries(holding.keys()))
    for id, session in holding.items():
        for entry in found[id]:
            way = session.ways.get(entry.stream)
            if way and not session.over:
                session.advanced(way, entry.processed)


async def devices(hub: Hub, reader: Reader, only: Collection[int] | None = None) -> None:
    """Compares generation, state and rights of the devices that have sessions here."""
    wanted = [id for id in (hub.sessions if only is None else only) if id in hub.sessions]
    for start in range(0, len(wanted), CHUNK):
        before = {id: hub.sessions[id] for id in wanted[start : start + CHUNK] if id in hub.sessions}
        found = await reader.ask(lambda before=before: standings(before.keys()))  # type: ignore[misc]
        moved = []
        for id, session in before.items():
            if hub.sessions.get(id) is session:
                standing = found.get(id)
                _check(hub, session, standing)
                if standing and not session.over and (only is not None or standing.streams != len(session.ways)):
                    moved.append(session)
        if moved:
            await _memberships(hub, reader, moved)


async def _memberships(hub: Hub, reader: Reader, sessions: Collection[Session]) -> None:
    """A service put devices into rooms or took them out: the open connections follow."""
    found = await reader.ask(lambda: reading.entries([session.device_id for session in sessions]))
    for session in sessions:
        entries = {entry.stream: entry for entry in found[session.device_id]}
        for name in set(session.ways) - set(entries):
            if not session.over:
                hub.leave(session, name)
                session.link.send(wire.frame("left", stream=name))
        for name in sorted(set(entries) - set(session.ways)):
            if not session.over:
                session.link.send(wire.frame("joined", **entries[name].as_frame()))
                hub.join(session, entries[name])


def _check(hub: Hub, session: Session, standing: Standing | None) -> None:
    if standing is None or standing.revoked:
        session.link.bye("device_revoked")
    elif standing.generation > session.generation:
        hub.taken_over(session.device_id, time.monotonic())
        hub.drop(session)
        session.link.bye("superseded")
    elif standing.state_seq > session.state_seq:
        # A notice that came over HTTP, or through another process.
        session.set_state(standing.state, standing.state_seq)
        session.pump()
        hub.run(hub.send_unread(session))
