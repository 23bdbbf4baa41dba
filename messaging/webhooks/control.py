"""What services and operators do to webhooks and their deliveries. The API and the admin call these."""

from __future__ import annotations

import logging
from collections.abc import Collection

from django.db import transaction
from django.db.models.functions import Now

from apps_registry import webhooks
from apps_registry.models import Service, Webhook
from messaging.log import feed, outbox
from messaging.models import DeliveryState, WebhookDelivery
from messaging.protocol.errors import ProtocolError
from messaging.webhooks import claims, composing

logger = logging.getLogger("meanwhile.webhooks")


def create(*, service: Service, url: str, events: Collection[str], after: int | None = None) -> Webhook:
    """A webhook that hears of what happens from now on; results: from behind `after`, where a position is said.

    Raises ValidationError; `position_gone` for a position that the feed has not got to.
    """
    if after is not None:
        feed.check(service.pk, after)
    position = feed.head(service.pk) if after is None else after
    return webhooks.create(service=service, url=url, events=events, position=position)


def change(*, webhook: Webhook, url: str | None = None, events: Collection[str] | None = None) -> None:
    """Sets what is told. If results are new to it, they begin now."""
    webhooks.change(webhook=webhook, url=url, events=events, position=feed.head(webhook.service_id))


@transaction.atomic
def enable(webhook: Webhook) -> bool:
    """It goes on where it stopped: results as far as the feed has them, of presence what changed since then; gaps and
    backlogs of that time were not noted. False if it is on.
    """
    since = Webhook.objects.select_for_update(no_key=True).get(pk=webhook.pk).disabled_at
    if since is None or not webhooks.enable(webhook=webhook):
        return False
    outbox.note_missed_presence(webhook.pk, since)
    return True


@transaction.atomic
def delete(webhook: Webhook) -> None:
    """With all its deliveries. Locked first: no worker makes another one meanwhile."""
    Webhook.objects.select_for_update(no_key=True).get(pk=webhook.pk)
    webhook.delete()
    logger.info("webhook deleted webhook=%s", webhook.public_id)


@transaction.atomic
def ping(webhook: Webhook) -> WebhookDelivery:
    """A delivery that says nothing but that it works. Raises `invalid` if the webhook is switched off,
    `rate_limited` if too much waits for it already.
    """
    held = claims.hold(webhook.pk)
    if held is None:
        raise ProtocolError("invalid", "The webhook is switched off.")
    if claims.open_deliveries(webhook.pk) >= composing.MOST_OPEN:
        raise ProtocolError("rate_limited", f"{composing.MOST_OPEN} deliveries wait for this webhook.")
    return WebhookDelivery.objects.get(message_id=composing.ping(held[0]))


def send_again(deliveries: Collection[int]) -> int:
    """Dead letters get the whole schedule once more, with the ids they had. → how many."""
    rows = WebhookDelivery.objects.filter(pk__in=deliveries).in_state(DeliveryState.DEAD)
    count: int = rows.update(failed_at=None, attempts=0, next_attempt_at=Now())
    logger.info("%d dead letters are sent again", count)
    return count


@transaction.atomic
def retry(delivery: WebhookDelivery) -> None:
    """Due now, whatever became of it: a dead letter, one that waits for its turn, one that was delivered.

    One that is due within a lease is left alone: a worker may be posting it, and a second one would at the same time.
    """
    # As in `take`: what a worker takes while this waits is seen as taken.
    Webhook.objects.select_for_update(no_key=True).get(pk=delivery.webhook_id)
    if not send_again([delivery.pk]):
        rows = WebhookDelivery.objects.filter(pk=delivery.pk)
        if not rows.in_state(DeliveryState.DELIVERED).update(delivered_at=None, attempts=0, next_attempt_at=Now()):
            later = rows.in_state(DeliveryState.OPEN).filter(next_attempt_at__gt=Now() + claims.lease())
            later.update(next_attempt_at=Now())
    delivery.refresh_from_db()


def discard(deliveries: Collection[int]) -> int:
    """Forgets dead letters. → how many."""
    count, _ = WebhookDelivery.objects.filter(pk__in=deliveries).in_state(DeliveryState.DEAD).delete()
    logger.warning("%d dead letters are discarded", count)
    return count
