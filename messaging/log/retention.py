"""retention: what nobody waits for goes quietly, what somebody still waits for goes with a gap (P7). Bounded rounds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from msgspec import Struct

from messaging import failpoints
from messaging.log import cursors, gaps, outbox, sql, storage
from messaging.log.effects import Effects
from messaging.protocol.rules import Segment, runs

#: Messages one round may remove, and streams it may look at.
LIMIT = 5000


class Removed(Struct):
    """What one round removed, by why."""

    processed: int = 0
    expired: int = 0
    overflow: int = 0

    def __bool__(self) -> bool:
        return bool(self.processed or self.expired or self.overflow)


def clean(effects: Effects, *, limit: int = LIMIT) -> Removed:
    """One round: at most `limit` messages of each kind. Own transactions; safe beside readers and other rounds.

    Only at or below the smallest `processed` of a stream, or by expiry or overflow, which say so and raise the tail
    in the same transaction.
    """
    removed = Removed(
        processed=_clean_processed(limit),
        expired=_clean_expired(effects, limit),
        overflow=_clean_overflow(effects, limit),
    )
    _clean_records()
    with transaction.atomic():
        storage.add_up()
    return removed


def clean_all(effects: Effects) -> Removed:
    """Rounds until nothing is left to remove."""
    total = Removed()
    while removed := clean(effects):
        total.processed += removed.processed
        total.expired += removed.expired
        total.overflow += removed.overflow
    return total


@transaction.atomic
def purge(*, stream_id: int, upto: int, effects: Effects) -> int:
    """Removes everything of a stream up to an offset, with a gap for who had not processed it. → messages removed."""
    offsets = [
        offset
        for (offset,) in sql.run(
            'SELECT "offset" FROM messaging_message WHERE stream_id = %s AND "offset" <= %s ORDER BY "offset"',
            stream_id,
            upto,
        )
    ]
    return _remove(stream_id, offsets, "purged", effects)


def _clean_processed(limit: int) -> int:
    """What every subscriber has processed and is past its grace."""
    streams = sql.run(
        "SELECT s.id FROM messaging_stream s JOIN messaging_subscription u ON u.stream_id = s.id"
        " WHERE s.tail <= s.head GROUP BY s.id, s.tail HAVING min(u.processed) >= s.tail ORDER BY s.id LIMIT %s",
        limit,
    )
    before = sql.now() - timedelta(seconds=settings.MEANWHILE_GRACE)
    removed = 0
    for (stream,) in streams:
        if removed >= limit:
            break
        with transaction.atomic():
            removed += _remove_processed(stream, before, limit - removed)
    return removed


def _remove_processed(stream_id: int, before: datetime, limit: int) -> int:
    _lock(stream_id)
    # Under the lock: who joined meanwhile may begin further back (its history). Nobody joins now, and nobody goes back.
    ((processed,),) = sql.run("SELECT min(u.processed) FROM messaging_subscription u WHERE u.stream_id = %s", stream_id)
    if processed is None:
        return 0
    ((stored, upto),) = sql.run(
        f'SELECT count(*), max(CASE WHEN m.published_at <= {sql.moment()} THEN m."offset" END) FROM'
        ' (SELECT "offset", published_at FROM messaging_message WHERE stream_id = %s AND "offset" <= %s'
        ' ORDER BY "offset" LIMIT %s) m',
        sql.stamp(before),
        stream_id,
        processed,
        limit,
    )
    if stored and upto is None:
        return 0
    # What is not stored any more, or was shed, holds the tail back no longer than that.
    removed = _delete('"offset" <= %s', stream_id, upto) if stored else 0
    _raise_tail(stream_id)
    gaps.forget(stream_id, upto=processed)
    return removed


def _clean_expired(effects: Effects, limit: int) -> int:
    expired = sql.run(
        'SELECT stream_id, "offset" FROM messaging_message'
        f" WHERE expires_at <= {sql.moment()} ORDER BY expires_at LIMIT %s",
        sql.stamp(sql.now()),
        limit,
    )
    by_stream: dict[int, list[int]] = defaultdict(list)
    for stream, offset in expired:
        by_stream[stream].append(offset)
    removed = 0
    for stream, offsets in sorted(by_stream.items()):
        with transaction.atomic():
            removed += _remove(stream, sorted(offsets), "expired", effects)
        failpoints.hit("cleanup.after_commit")
    return removed


def _clean_overflow(effects: Effects, limit: int) -> int:
    """The oldest of streams that hold more than the hard limit."""
    full = sql.run(
        "SELECT id, head FROM messaging_stream WHERE head - tail + 1 > %s ORDER BY id LIMIT 100",
        settings.MEANWHILE_BACKLOG_HARD,
    )
    removed = 0
    for stream, head in full:
        with transaction.atomic():
            offsets = sql.run(
                'SELECT "offset" FROM messaging_message WHERE stream_id = %s AND "offset" <= %s'
                ' ORDER BY "offset" LIMIT %s',
                stream,
                head - settings.MEANWHILE_BACKLOG_HARD,
                limit,
            )
            if offsets:
                removed += _remove(stream, [offset for (offset,) in offsets], "overflow", effects)
            else:
                _lock(stream)
                _raise_tail(stream)
    return removed


def _lock(stream_id: int) -> None:
    sql.run(f"SELECT s.id FROM messaging_stream s WHERE s.id = %s{sql.lock('s')}", stream_id)


def _delete(where: str, stream_id: int, which: int | str) -> int:
    """Takes messages out of a stream that is locked. → how many"""
    sizes = sql.run(
        f"DELETE FROM messaging_message WHERE stream_id = %s AND {where} RETURNING {storage.size_in_sql('payload')}",
        stream_id,
        which,
    )
    storage.freed((stream_id, size) for (size,) in sizes)
    return len(sizes)


def _raise_tail(stream_id: int) -> None:
    sql.run(
        'UPDATE messaging_stream SET tail = coalesce((SELECT min(m."offset") FROM messaging_message m'
        " WHERE m.stream_id = messaging_stream.id), head + 1) WHERE id = %s",
        stream_id,
    )


def _remove(stream_id: int, offsets: Sequence[int], reason: str, effects: Effects) -> int:
    """Takes messages out, writes the gap for what somebody had not processed, tells the services, raises the tail."""
    if not offsets:
        return 0
    _lock(stream_id)
    source = sql.rows("r", place="bigint")
    # Read again under the lock: another round may have been first. IN, not JOIN: to have the order for nothing, SQLite
    # would go through the whole stream and look for each message among the offsets.
    stored = sql.run(
        'SELECT m."offset", m.service_id, m.type_id FROM messaging_message m'
        f' WHERE m.stream_id = %s AND m."offset" IN (SELECT r.place FROM {source}) ORDER BY m."offset"',
        stream_id,
        sql.packed((offset,) for offset in offsets),
    )
    # Locked: results that come at this moment are told before or after, not as well.
    waiting = sql.run(
        "SELECT u.device_id, u.processed FROM messaging_subscription u WHERE u.stream_id = %s"
        f" ORDER BY u.id{sql.lock('u')}",
        stream_id,
    )
    slowest = min((processed for _, processed in waiting), default=None)
    missed = [row for row in stored if slowest is not None and row[0] > slowest]
    holes = runs([offset for offset, *_ in missed])
    gaps.record(stream_id, holes, reason=reason, processed=[processed for _, processed in waiting], at=sql.now())
    _tell_services(stream_id, missed, waiting, reason, effects)
    failpoints.hit("cleanup.before_delete")
    which = sql.packed((offset,) for offset, *_ in stored)
    removed = _delete(f'"offset" IN (SELECT r.place FROM {source})', stream_id, which)
    _raise_tail(stream_id)
    failpoints.hit("cleanup.before_commit")
    effects.streams.append(stream_id)
    return removed


def _tell_services(
    stream_id: int,
    missed: Sequence[tuple[int, int | None, int]],
    waiting: Sequence[tuple[int, int]],
    reason: str,
    effects: Effects,
) -> None:
    """A result `gap` per run and device that will not get it."""
    told = cursors.told_of({type for _, _, type in missed})
    offsets: dict[int, list[int]] = defaultdict(list)
    for offset, service, type in missed:
        for recipient in told[type].services or (service,):
            if recipient is not None:
                offsets[recipient].append(offset)
    cursors.write_results(
        (
            (service, device, stream_id, Segment(first, last, "gap", reason))
            for service, found in offsets.items()
            for device, processed in waiting
            for first, last in runs([offset for offset in found if offset > processed])
        ),
        effects,
    )


def _clean_records() -> None:
    """What goes by age: feed, timeline, gaps, answers to idempotency keys, `latest` values past their time."""
    now = sql.now()
    kept = sql.stamp(now - timedelta(seconds=settings.MEANWHILE_RESULTS_KEPT))
    with transaction.atomic():
        gaps.forget_old(now - timedelta(seconds=settings.MEANWHILE_RESULTS_KEPT))
        sql.run(f"DELETE FROM messaging_result WHERE reported_at < {sql.moment()}", kept)
        sql.run(f"DELETE FROM messaging_resume WHERE started_at < {sql.moment()}", kept)
        answers = sql.stamp(now - timedelta(seconds=settings.MEANWHILE_IDEMPOTENCY_KEPT))
        sql.run(f"DELETE FROM messaging_idempotentanswer WHERE created_at < {sql.moment()}", answers)
        outbox.clean(now)
        _clean_values(now)


def _clean_values(now: datetime) -> None:
    """`latest` values past their time, with the receipts of them."""
    # Not those that a publish holds: it renews them. One that was renewed since it was found is past its time no more.
    gone = sql.run(
        "DELETE FROM messaging_latestvalue WHERE id IN (SELECT l.id FROM messaging_latestvalue l"
        f" WHERE l.expires_at <= {sql.moment()}{sql.lock_free('l')})"
        f" RETURNING id, stream_id, {storage.size_in_sql('payload')}",
        sql.stamp(now),
    )
    if gone:
        source = sql.rows("r", id="bigint")
        sql.run(
            f"DELETE FROM messaging_latestreceipt WHERE value_id IN (SELECT r.id FROM {source})",
            sql.packed((id,) for id, *_ in gone),
        )
        storage.freed((stream, size) for _, stream, size in gone)
