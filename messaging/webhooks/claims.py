"""What a worker does in the database: look where something is due, take one delivery, write down what became of it.

Each is one transaction. A delivery that is taken is nobody else's until its lease is over: a worker that was killed
between the POST and its record leaves it to be sent again, with the same id.
"""

from __future__ import annotations

import logging
import random
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from msgspec import Struct

from apps_registry import webhooks
from apps_registry.models import Webhook
from messaging import failpoints
from messaging.log import sql
from messaging.webhooks import schedule
from messaging.webhooks.composing import MOST_OPEN, Hearer, fill

logger = logging.getLogger("meanwhile.webhooks")

#: Seconds a worker has beyond the time-out to write down what became of an attempt.
MARGIN = 30

_OPEN = "delivered_at IS NULL AND failed_at IS NULL"


class Job(Struct):
    """A delivery that this worker is to post now."""

    id: int
    webhook_id: int
    webhook: str
    url: str
    secrets: list[str]
    message_id: str
    body: str
    attempts: int
    #: By the database's clock.
    at: datetime


class Answer(Struct):
    """What became of an attempt. `error`: short, never what the receiver sent."""

    status: int | None = None
    error: str = ""
    #: Seconds the receiver asks us to wait.
    wait: float | None = None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """The receiver does not want to hear from us any more."""
        return self.status == 410


def lease() -> timedelta:
    """How long a delivery that is taken is its worker's alone: what is due later than this is in nobody's hands."""
    return timedelta(seconds=settings.MEANWHILE_WEBHOOK_TIMEOUT + MARGIN)


def waiting() -> list[int]:
    """The webhooks that have something to be done now. One read."""
    mine = f" FROM messaging_webhookdelivery d WHERE d.webhook_id = w.id AND {_OPEN}"
    rows = sql.run(
        "SELECT w.id FROM apps_registry_webhook w LEFT JOIN messaging_feed f ON f.service_id = w.service_id"
        f" WHERE w.disabled_at IS NULL AND (EXISTS (SELECT 1{mine} AND d.next_attempt_at <= {sql.moment()})"
        " OR ((w.results AND f.head > w.position"
        "   OR EXISTS (SELECT 1 FROM messaging_webhookpresence n WHERE n.webhook_id = w.id)"
        "   OR EXISTS (SELECT 1 FROM messaging_webhookevent e WHERE e.webhook_id = w.id))"
        f"  AND (SELECT count(*){mine}) < %s))"
        " ORDER BY w.id",
        sql.stamp(sql.now()),
        MOST_OPEN,
    )
    return [id for (id,) in rows]


@transaction.atomic
def take(webhook_id: int) -> Job | None:
    """Makes deliveries of what is due, and takes the one that is due first; None: there is none."""
    found = hold(webhook_id)
    if found is None:
        return None
    hearer, url, keys = found
    if open_deliveries(webhook_id) < MOST_OPEN:
        fill(hearer)
    while row := _next(hearer):
        id, message_id, body, attempts = row
        if attempts < schedule.ATTEMPTS:
            until = hearer.now + lease()
            sql.run(
                "UPDATE messaging_webhookdelivery SET attempts = attempts + 1,"
                f" next_attempt_at = {sql.moment()} WHERE id = %s",
                sql.stamp(until),
                id,
            )
            return Job(id, webhook_id, hearer.public_id, url, keys, message_id, body, attempts + 1, hearer.now)
        _bury(id, attempts, Answer(error="the worker ended before there was an answer"), hearer.now)
    return None


def hold(webhook_id: int) -> tuple[Hearer, str, list[str]] | None:
    """The webhook with its row locked, its URL, and its secrets, newest first. None if it is gone or switched off."""
    rows = sql.run(
        "SELECT a.name, v.id, v.name, w.public_id, w.results, w.position, coalesce(f.head, 0), w.url, w.secret,"
        f" CASE WHEN w.old_secret_until > {sql.moment()} THEN w.old_secret ELSE '' END FROM apps_registry_webhook w"
        " JOIN apps_registry_service v ON v.id = w.service_id JOIN apps_registry_app a ON a.id = v.app_id"
        " LEFT JOIN messaging_feed f ON f.service_id = v.id"
        f" WHERE w.id = %s AND w.disabled_at IS NULL{sql.lock('w')}",
        sql.stamp(sql.now()),
        webhook_id,
    )
    if not rows:
        return None
    ((app, service_id, service, public_id, results, position, head, url, secret, old),) = rows
    # After the lock was had: a delivery is not older than one that was made before it.
    hearer = Hearer(webhook_id, app, service_id, service, public_id, bool(results), position, head, sql.now())
    return hearer, url, [secret, old] if old else [secret]


def open_deliveries(webhook_id: int) -> int:
    """How many are not through."""
    count: int = sql.run(
        f"SELECT count(*) FROM messaging_webhookdelivery WHERE webhook_id = %s AND {_OPEN}", webhook_id
    )[0][0]
    return count


def _next(hearer: Hearer) -> tuple[int, str, str, int] | None:
    rows = sql.run(
        f"SELECT id, message_id, body, attempts FROM messaging_webhookdelivery WHERE webhook_id = %s AND {_OPEN}"
        f" AND next_attempt_at <= {sql.moment()} ORDER BY next_attempt_at, id LIMIT 1",
        hearer.id,
        sql.stamp(hearer.now),
    )
    return rows[0] if rows else None


@transaction.atomic
def record(job: Job, answer: Answer) -> None:
    """Writes down what became of an attempt. What another worker has taken since is left to it.

    Locks the webhook, if at all, before the delivery: the order of `take`.
    """
    failpoints.hit("webhook.after_post")
    now = sql.now()
    if answer.delivered:
        sql.run(
            f"UPDATE messaging_webhookdelivery SET delivered_at = {sql.moment()}, failed_at = NULL, last_status = %s,"
            " last_error = '' WHERE id = %s AND delivered_at IS NULL",
            sql.stamp(now),
            answer.status,
            job.id,
        )
        return
    if answer.gone:
        for webhook in Webhook.objects.filter(pk=job.webhook_id):
            webhooks.disable(webhook=webhook, reason="The receiver answered 410 Gone.")
    wait = None if answer.gone else schedule.delay_after(job.attempts, asked=answer.wait, chance=random.random())  # noqa: S311
    if wait is None:
        _bury(job.id, job.attempts, answer, now)
    else:
        sql.run(
            f"UPDATE messaging_webhookdelivery SET next_attempt_at = {sql.moment()}, last_status = %s, last_error = %s"
            f" WHERE id = %s AND attempts = %s AND {_OPEN}",
            sql.stamp(now + timedelta(seconds=wait)),
            answer.status,
            answer.error,
            job.id,
            job.attempts,
        )
    logger.info("webhook=%s message=%s attempt %d failed: %s", job.webhook, job.message_id, job.attempts, answer.error)


def _bury(id: int, attempts: int, answer: Answer, now: datetime) -> None:
    """A dead letter."""
    buried = sql.change(
        f"UPDATE messaging_webhookdelivery SET failed_at = {sql.moment()}, last_status = %s, last_error = %s"
        f" WHERE id = %s AND attempts = %s AND {_OPEN}",
        sql.stamp(now),
        answer.status,
        answer.error,
        id,
        attempts,
    )
    if buried:
        logger.warning("delivery=%d is a dead letter after %d attempts: %s", id, attempts, answer.error)
