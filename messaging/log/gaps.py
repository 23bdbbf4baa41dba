"""Gaps: which offsets of a stream can no longer be delivered, and why (P7). Written here alone, with word to webhooks.

Inside the transaction that makes the gap, with the stream locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from messaging.log import outbox, sql


def record(
    stream_id: int, holes: Sequence[tuple[int, int]], *, reason: str, processed: Sequence[int], at: datetime
) -> None:
    """Writes down what is removed: (first, last) of each hole. processed: how far each of the stream's devices is."""
    _insert([(stream_id, first, last, reason) for first, last in holes], at)
    outbox.note_gaps(
        (stream_id, first, last, reason, sum(offset < last for offset in processed)) for first, last in holes
    )


def record_shed(holes: Sequence[tuple[int, int, int]], *, at: datetime) -> None:
    """Writes down what was shed: (stream, first, last). A flood is one gap, however many transactions it comes in."""
    source = sql.rows("r", stream_id="bigint", first="bigint", last="bigint")
    longer = sql.run(
        f"UPDATE messaging_gap SET to_offset = r.last FROM {source} WHERE messaging_gap.stream_id = r.stream_id"
        " AND messaging_gap.to_offset = r.first - 1 AND messaging_gap.reason = 'shed'"
        " RETURNING messaging_gap.stream_id, messaging_gap.to_offset",
        sql.packed(holes),
    )
    known = set(longer)
    _insert([(stream, first, last, "shed") for stream, first, last in holes if (stream, last) not in known], at)
    outbox.note_gaps([(*hole, "shed", None) for hole in holes])


def forget(stream_id: int, *, upto: int) -> None:
    """Removes those that every device of the stream has behind it."""
    sql.run("DELETE FROM messaging_gap WHERE stream_id = %s AND to_offset <= %s", stream_id, upto)


def forget_old(before: datetime) -> None:
    """Removes old ones that nobody is in front of: also those of rooms without members, where nobody moves on.

    Inside a transaction. Whoever joins begins at the tail at the earliest.
    """
    gone = sql.run(
        "SELECT g.id FROM messaging_gap g JOIN messaging_stream s ON s.id = g.stream_id LEFT JOIN"
        " (SELECT u.stream_id, min(u.processed) AS processed FROM messaging_subscription u"
        " WHERE u.stream_id IN (SELECT o.stream_id FROM messaging_gap o"
        f" WHERE o.created_at < {sql.moment()}) GROUP BY u.stream_id) r ON r.stream_id = g.stream_id"
        f" WHERE g.created_at < {sql.moment()} AND g.to_offset < s.tail"
        " AND (r.processed IS NULL OR r.processed >= g.to_offset)",
        sql.stamp(before),
        sql.stamp(before),
    )
    if gone:
        source = sql.rows("r", id="bigint")
        sql.run(f"DELETE FROM messaging_gap WHERE id IN (SELECT r.id FROM {source})", sql.packed(gone))


def _insert(gaps: Sequence[tuple[int, int, int, str]], at: datetime) -> None:
    if not gaps:
        return
    source = sql.rows("r", stream_id="bigint", first="bigint", last="bigint", reason="text")
    sql.run(
        "INSERT INTO messaging_gap (stream_id, from_offset, to_offset, reason, created_at)"
        f" SELECT r.stream_id, r.first, r.last, r.reason, {sql.moment()} FROM {source}",
        sql.stamp(at),
        sql.packed(gaps),
    )
