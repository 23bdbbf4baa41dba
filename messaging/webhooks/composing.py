"""Deliveries are made of what is due: results of the feed, presence, gaps and backlogs of the outbox.

Everything here runs inside the transaction that holds the webhook's row: so of several workers one makes each delivery,
and what a delivery is made of is gone from where it stood when the delivery is there.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from msgspec import Raw, Struct, json

from messaging.log import feed, sql
from messaging.models import Presence
from messaging.protocol import wire

#: Items of one POST.
MOST_ITEMS = 100
#: Bytes of items of one POST, unless one alone is larger.
MOST_BYTES = 512 * 1024
#: Deliveries of a webhook that are not through: beyond, nothing more is made for it. The feed keeps what is to come.
MOST_OPEN = 100


class Hearer(Struct):
    """A webhook whose row this transaction holds."""

    id: int
    app: str
    service_id: int
    service: str
    public_id: str
    results: bool
    #: How far deliveries have been made of the feed, and how far the feed has got.
    position: int
    head: int
    now: datetime


def fill(hearer: Hearer) -> None:
    """Makes at most one delivery of each event."""
    if hearer.results and hearer.head > hearer.position:
        _results(hearer)
    _presence(hearer)
    for event in ("gaps", "backlog"):
        _events(hearer, event)


def ping(hearer: Hearer) -> str:
    """A delivery that says nothing but that it works. → its message id."""
    return _write(hearer, "ping", {"webhook": hearer.public_id})


def _results(hearer: Hearer) -> None:
    """What stands behind the webhook's position; what stood there and was cleaned away is said to be missing."""
    after = hearer.position
    items: list[Raw] = []
    missing: list[dict[str, int]] = []
    size, upto = 0, after
    for item in feed.items(hearer.service_id, after=after, limit=MOST_ITEMS):
        text = json.encode(item)
        size += len(text)
        if items and size > MOST_BYTES:
            break
        if item["position"] > upto + 1:
            missing.append({"from": upto + 1, "to": item["position"] - 1})
        upto = item["position"]
        items.append(Raw(text))
    if not items:
        # Nothing at all is left of what the head counted: it is past the time the feed is kept.
        missing.append({"from": after + 1, "to": hearer.head})
        upto = hearer.head
    _write(hearer, "results", {"after": after, "upto": upto, "items": items, "missing": missing})
    sql.run("UPDATE apps_registry_webhook SET position = %s WHERE id = %s", upto, hearer.id)


def _presence(hearer: Hearer) -> None:
    devices = sql.run(
        "DELETE FROM messaging_webhookpresence WHERE id IN (SELECT n.id FROM messaging_webhookpresence n"
        f" WHERE n.webhook_id = %s ORDER BY n.noted_at, n.id LIMIT %s{sql.lock_free('n')}) RETURNING device_id",
        hearer.id,
        MOST_ITEMS,
    )
    if not devices:
        return
    # A statement of its own: it sees what was committed before the rows above were ours.
    found = Presence.objects.filter(device__in=[device for (device,) in devices]).as_told()
    items = [{"device": device, "state": state, "at": wire.instant(since)} for _, device, state, since, _ in found]
    if items:
        _write(hearer, "presence", {"items": items})


def _events(hearer: Hearer, event: str) -> None:
    rows = sql.run(
        "DELETE FROM messaging_webhookevent WHERE id IN (SELECT e.id FROM messaging_webhookevent e"
        f" WHERE e.webhook_id = %s AND e.event = %s ORDER BY e.id LIMIT %s{sql.lock_free('e')}) RETURNING id, item",
        hearer.id,
        event,
        MOST_ITEMS,
    )
    if rows:
        _write(hearer, event, {"items": [Raw(item.encode()) for _, item in sorted(rows)]})


def _write(hearer: Hearer, event: str, data: dict[str, Any]) -> str:
    """The delivery, due at once. → its message id, which sorts by time."""
    message_id = f"msg_{int(hearer.now.timestamp() * 1000):012x}{secrets.token_hex(8)}"
    body = wire.dumps(
        {
            "type": event,
            "timestamp": wire.instant(hearer.now),
            "data": {"app": hearer.app, "service": hearer.service, **data},
        }
    )
    stamp = sql.stamp(hearer.now)
    sql.run(
        "INSERT INTO messaging_webhookdelivery"
        " (webhook_id, message_id, event, body, attempts, created_at, next_attempt_at, last_error)"
        f" VALUES (%s, %s, %s, %s, 0, {sql.moment()}, {sql.moment()}, '')",
        hearer.id,
        message_id,
        event,
        body,
        stamp,
        stamp,
    )
    return message_id
