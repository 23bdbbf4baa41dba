"""What can be done to webhooks: as in `services`, every verb is one transaction and says what was wrong by field."""

from __future__ import annotations

import base64
import datetime as dt
import logging
import secrets
from collections.abc import Collection

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.functions import Now

from apps_registry.models import Service, Webhook

#: Bytes of a secret: Standard Webhooks asks for 24 to 64.
SECRET_BYTES = 32
#: How long the secret before a rotation signs as well.
OVERLAP = dt.timedelta(hours=24)
MOST_OF_A_SERVICE = 20

log = logging.getLogger(__name__)


def new_secret() -> str:
    """`whsec_…`, to be shown once."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


@transaction.atomic
def create(*, service: Service, url: str, events: Collection[str], position: int) -> Webhook:
    """A webhook that hears from now on; of results: from behind a position of the service's feed."""
    Service.objects.select_for_update(no_key=True).get(pk=service.pk)
    check_number(service)
    row = Webhook(service=service, url=url, position=position, secret=new_secret(), **_flags(events))
    row.clean_fields(exclude={"service"})
    row.save(force_insert=True)
    row.refresh_from_db(fields=["created_at"])
    log.info("webhook created service=%s webhook=%s events=%s", service, row.public_id, ",".join(row.events))
    return row


def check_number(service: Service) -> None:
    """Raises ValidationError if the service has as many as it may."""
    if Webhook.objects.filter(service=service).count() >= MOST_OF_A_SERVICE:
        raise ValidationError({"url": f"A service has at most {MOST_OF_A_SERVICE} webhooks."})


@transaction.atomic
def change(*, webhook: Webhook, url: str | None = None, events: Collection[str] | None = None, position: int) -> None:
    """Sets what is told. `position`: where it begins in the feed if results are new to it."""
    row = Webhook.objects.select_for_update(no_key=True).get(pk=webhook.pk)
    before = row.results
    if url is not None:
        row.url = url
    for event, wanted in ({} if events is None else _flags(events)).items():
        setattr(row, event, wanted)
    if row.results and not before:
        row.position = position
    row.clean_fields(exclude={"service"})
    row.save(update_fields=["url", *Webhook.EVENTS, "position"])
    webhook.refresh_from_db()


@transaction.atomic
def rotate_secret(*, webhook: Webhook) -> str:
    """The new secret, never to be shown again. The one before signs as well for a day; one before that, no more."""
    row = Webhook.objects.select_for_update(no_key=True).get(pk=webhook.pk)
    Webhook.objects.filter(pk=row.pk).update(
        secret=new_secret(), old_secret=row.secret, old_secret_until=Now() + OVERLAP
    )
    webhook.refresh_from_db()
    log.info("webhook secret rotated webhook=%s", webhook.public_id)
    return webhook.secret


def disable(*, webhook: Webhook, reason: str) -> bool:
    """Nothing goes there any more; what waits, waits. False if somebody was first, or has deleted it."""
    changed = Webhook.objects.filter(pk=webhook.pk, disabled_at=None).update(disabled_at=Now(), disabled_reason=reason)
    _look_again(webhook)
    if changed:
        log.warning("webhook disabled webhook=%s: %s", webhook.public_id, reason)
    return bool(changed)


def enable(*, webhook: Webhook) -> bool:
    """It goes on where it stopped, as far as the feed is still kept. False if somebody was first, or has deleted it."""
    changed = Webhook.objects.filter(pk=webhook.pk, disabled_at__isnull=False).update(
        disabled_at=None, disabled_reason=""
    )
    _look_again(webhook)
    if changed:
        log.info("webhook enabled webhook=%s", webhook.public_id)
    return bool(changed)


def _look_again(webhook: Webhook) -> None:
    """Whether it is off, and why; of one that is deleted nothing is to be known."""
    if found := Webhook.objects.filter(pk=webhook.pk).values_list("disabled_at", "disabled_reason").first():
        webhook.disabled_at, webhook.disabled_reason = found


def _flags(events: Collection[str]) -> dict[str, bool]:
    unknown = set(events) - set(Webhook.EVENTS)
    if unknown or not events:
        raise ValidationError({"events": f"Say one or more of {', '.join(Webhook.EVENTS)}."})
    return {event: event in events for event in Webhook.EVENTS}
