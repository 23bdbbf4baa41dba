"""Who reads which stream. A member costs one row, a room message costs one row however many members there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from messaging.log import append, sql
from messaging.log.reading import Entry, entries
from messaging.models import new_epoch
from messaging.protocol.names import stream_kind


def subscribe(members: Sequence[tuple[int, int, str]]) -> None:
    """Puts devices into streams: (app, device, stream name). Makes streams that are missing.

    Inside a transaction; idempotent: who is in keeps its cursors. A newcomer starts at the head (P2: it gets what is
    published from now on).
    """
    if not members:
        return
    names = {(app, stream) for app, _, stream in members}
    append.create([(app, stream_kind(stream), stream, new_epoch()) for app, stream in sorted(names)])
    source = sql.rows("r", app_id="bigint", device_id="bigint", name="text")
    # The stream's row is locked first: a publish of another process is wholly before or wholly after the join.
    sql.run(
        f"SELECT s.id FROM {source} JOIN messaging_stream s ON s.app_id = r.app_id AND s.name = r.name"
        f" ORDER BY s.id{sql.lock('s')}",
        sql.packed(members),
    )
    sql.run(
        "INSERT INTO messaging_subscription (device_id, stream_id, processed, received, latest_received, joined_offset)"
        f" SELECT r.device_id, s.id, s.head, s.head, 0, s.head FROM {source}"
        " JOIN messaging_stream s ON s.app_id = r.app_id AND s.name = r.name"
        " WHERE true ON CONFLICT (device_id, stream_id) DO NOTHING",
        sql.packed(members),
    )


def unsubscribe(members: Collection[tuple[int, str]]) -> int:
    """Takes devices out of streams: (device, stream name). Their cursors are gone with it; idempotent."""
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
