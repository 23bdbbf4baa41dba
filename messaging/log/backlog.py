"""The soft limit: who falls behind is told of once, and again only after having caught up to half of it."""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import transaction

from messaging.log import outbox, sql

logger = logging.getLogger("meanwhile.backlog")

#: Crossings of one round.
MOST = 1000


def watch() -> int:
    """One round: notes who has come above the soft limit in a stream, forgets who is below half. → newly above.

    Two reads, and a transaction where something has changed. Several processes may run it at once.
    """
    soft = settings.MEANWHILE_BACKLOG_SOFT
    # By the index (stream, processed), and only in streams that can have such a backlog at all. CROSS: else SQLite goes
    # through all subscriptions and looks each one's stream up. In any order: `_note` has one.
    above = sql.run(
        "SELECT u.id FROM messaging_stream s"
        " CROSS JOIN messaging_subscription u"
        " LEFT JOIN messaging_fallenbehind b ON b.subscription_id = u.id"
        " WHERE u.stream_id = s.id AND u.processed < s.head - %s AND s.head > %s AND b.subscription_id IS NULL"
        " LIMIT %s",
        soft,
        soft,
        MOST,
    )
    below = sql.run(
        "SELECT b.subscription_id FROM messaging_fallenbehind b"
        " LEFT JOIN messaging_subscription u ON u.id = b.subscription_id"
        " LEFT JOIN messaging_stream s ON s.id = u.stream_id WHERE u.id IS NULL OR s.head - u.processed <= %s",
        soft // 2,
    )
    if not above and not below:
        return 0
    with transaction.atomic():
        return _note(above, below)


def _note(above: list[tuple[int]], below: list[tuple[int]]) -> int:
    source = sql.rows("r", id="bigint")
    sql.run(
        f"DELETE FROM messaging_fallenbehind WHERE subscription_id IN (SELECT r.id FROM {source})", sql.packed(below)
    )
    noted = sql.run(
        f"INSERT INTO messaging_fallenbehind (subscription_id, since) SELECT r.id, {sql.moment()} FROM {source}"
        " WHERE true ORDER BY r.id ON CONFLICT (subscription_id) DO NOTHING RETURNING subscription_id",
        sql.stamp(sql.now()),
        sql.packed(above),
    )
    fresh = [id for (id,) in noted]
    if fresh:
        outbox.note_backlog(fresh)
        logger.warning("%d subscriptions have come above the soft limit of the backlog", len(fresh))
    return len(fresh)
