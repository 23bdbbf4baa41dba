"""What webhooks are to hear of, written in the transaction in which it happens. Results are not among it: they stand in
the feed, and the worker reads them there.

Where nobody wants to hear of it, it costs one small question a batch.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from messaging.log import sql
from messaging.protocol import wire

logger = logging.getLogger("meanwhile.webhooks")

#: How long it is remembered that something was delivered.
DELIVERED_KEPT = timedelta(days=1)

#: A change of presence is committed at most so long after the moment it bears.
LATE = timedelta(seconds=5)

_OF_SERVICE = " JOIN apps_registry_webhook w ON w.service_id = v.id AND w.disabled_at IS NULL AND w."


def note_presence(changes: Sequence[tuple[int, int]]) -> None:
    """(app id, device id) of what is told of presence (`whereabouts`). One row however often it changes meanwhile."""
    apps = {app for app, _ in changes}
    found = sql.run(
        f"SELECT DISTINCT v.app_id FROM apps_registry_service v{_OF_SERVICE}presence"
        f" WHERE v.app_id IN ({','.join(['%s'] * len(apps))})",
        *apps,
    )
    wanting = {app for (app,) in found}
    devices = sorted({device for app, device in changes if app in wanting})
    if not devices:
        return
    source = sql.rows("r", id="bigint")
    # An update and not DO NOTHING: it locks the row, so that no worker takes it before this transaction is through.
    sql.run(
        "INSERT INTO messaging_webhookpresence (webhook_id, device_id, noted_at)"
        f" SELECT w.id, d.id, {sql.moment()} FROM {source} JOIN apps_registry_device d ON d.id = r.id"
        f" JOIN apps_registry_service v ON v.app_id = d.app_id{_OF_SERVICE}presence WHERE true ORDER BY d.id, w.id"
        " ON CONFLICT (webhook_id, device_id) DO UPDATE SET noted_at = excluded.noted_at",
        sql.stamp(sql.now()),
        sql.packed((device,) for device in devices),
    )


def note_missed_presence(webhook_id: int, since: datetime) -> None:
    """What was told since then: for a webhook that was switched off. Inside the transaction that enables it.

    A little more than that: what bears an earlier moment may have been committed later.
    LIMIT: a transaction that is under way at this moment may be missed; the next change of its device is told.
    """
    sql.run(
        "INSERT INTO messaging_webhookpresence (webhook_id, device_id, noted_at)"
        f" SELECT w.id, d.id, {sql.moment()} FROM apps_registry_webhook w"
        " JOIN apps_registry_service v ON v.id = w.service_id JOIN apps_registry_device d ON d.app_id = v.app_id"
        f" JOIN messaging_presence p ON p.device_id = d.id AND p.told_at >= {sql.moment()}"
        " WHERE w.id = %s AND w.presence ORDER BY d.id"
        " ON CONFLICT (webhook_id, device_id) DO UPDATE SET noted_at = excluded.noted_at",
        sql.stamp(sql.now()),
        sql.stamp(since - LATE),
        webhook_id,
    )


def note_gaps(gaps: Iterable[tuple[int, int, int, str, int | None]]) -> None:
    """(stream id, first, last, reason, how many devices had not processed it; None: nobody counted)."""
    found = list(gaps)
    if not found:
        return
    source = sql.rows("r", id="bigint")
    hearers = sql.run(
        f"SELECT s.id, s.name, w.id FROM {source} JOIN messaging_stream s ON s.id = r.id"
        f" JOIN apps_registry_service v ON v.app_id = s.app_id{_OF_SERVICE}gaps ORDER BY w.id",
        sql.packed({(stream,) for stream, *_ in found}),
    )
    at = sql.now()
    _write(
        "gaps",
        [
            (webhook, {"stream": name, "from": first, "to": last, "reason": reason, "devices": devices})
            for stream, first, last, reason, devices in found
            for id, name, webhook in hearers
            if id == stream
        ],
        at,
    )


def note_backlog(subscriptions: Collection[int]) -> None:
    """These subscriptions have come above the soft limit."""
    source = sql.rows("r", id="bigint")
    hearers = sql.run(
        f"SELECT d.name, s.name, s.head - u.processed, w.id FROM {source}"
        " JOIN messaging_subscription u ON u.id = r.id JOIN messaging_stream s ON s.id = u.stream_id"
        " JOIN apps_registry_device d ON d.id = u.device_id"
        f" JOIN apps_registry_service v ON v.app_id = s.app_id{_OF_SERVICE}backlog ORDER BY u.id, w.id",
        sql.packed((id,) for id in subscriptions),
    )
    limit = settings.MEANWHILE_BACKLOG_SOFT
    _write(
        "backlog",
        [
            (webhook, {"device": device, "stream": stream, "backlog": backlog, "limit": limit})
            for device, stream, backlog, webhook in hearers
        ],
        sql.now(),
    )


def _write(event: str, items: Sequence[tuple[int, dict[str, Any]]], at: datetime) -> None:
    if not items:
        return
    source = sql.rows("r", webhook_id="bigint", item="text")
    moment = wire.instant(at)
    sql.run(
        "INSERT INTO messaging_webhookevent (webhook_id, event, item, created_at)"
        f" SELECT r.webhook_id, %s, r.item, {sql.moment()} FROM {source}",
        event,
        sql.stamp(at),
        sql.packed((webhook, wire.dumps({**item, "at": moment})) for webhook, item in items),
    )


def clean(now: datetime) -> None:
    """What is kept by age alone. Inside a transaction.

    Delivered ones a day, dead letters for MEANWHILE_WEBHOOK_DEAD_KEPT. What nobody has tried to send for as long (its
    webhook is switched off) goes as well, and the log says how much.
    """
    sql.run(
        f"DELETE FROM messaging_webhookdelivery WHERE delivered_at < {sql.moment()}", sql.stamp(now - DELIVERED_KEPT)
    )
    kept = sql.stamp(now - timedelta(seconds=settings.MEANWHILE_WEBHOOK_DEAD_KEPT))
    sql.run(f"DELETE FROM messaging_webhookdelivery WHERE failed_at < {sql.moment()}", kept)
    forgotten = sql.change(f"DELETE FROM messaging_webhookevent WHERE created_at < {sql.moment()}", kept)
    # By when it was due, not by when it was made: a dead letter that is sent again is old and wanted.
    forgotten += sql.change(
        "DELETE FROM messaging_webhookdelivery WHERE delivered_at IS NULL AND failed_at IS NULL"
        f" AND next_attempt_at < {sql.moment()}",
        kept,
    )
    # Written while their webhook was being deleted.
    for table in ("messaging_webhookevent", "messaging_webhookpresence"):
        sql.run(
            f"DELETE FROM {table} WHERE NOT EXISTS"
            f" (SELECT 1 FROM apps_registry_webhook w WHERE w.id = {table}.webhook_id)"
        )
    if forgotten:
        logger.warning("%d events and deliveries of webhooks were never sent and are past their time", forgotten)
