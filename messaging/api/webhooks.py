"""Webhooks of the calling key's own service, their deliveries and dead letters. Scope manage also to look: a URL may
hold a word that opens something.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from apps_registry import webhooks as registry
from apps_registry.models import Scope, Service, Webhook
from apps_registry.names import is_name
from messaging.api import paging, params, telling, webhook_shapes
from messaging.api.bodies import WebhookBody, WebhookChanges
from messaging.api.edge import ServiceView, answer, key_of
from messaging.api.schema import CURSOR, FOR_SERVICES, LIMIT, WITH_BODY, asks, described
from messaging.models import DeliveryState, WebhookDelivery
from messaging.protocol.errors import ProtocolError
from messaging.webhooks import control


class WebhookView(ServiceView):
    reading = Scope.MANAGE

    def handle_exception(self, exc: Exception) -> Response:
        """What somebody deletes between the look and the change is unknown, as it is a moment later."""
        if isinstance(exc, Webhook.DoesNotExist):
            exc = ProtocolError("unknown_webhook")
        if isinstance(exc, WebhookDelivery.DoesNotExist):
            exc = ProtocolError("unknown_delivery")
        return super().handle_exception(exc)


class Webhooks(WebhookView):
    @described(
        "webhooks", "List webhooks", {200: webhook_shapes.WebhookList}, "invalid", *FOR_SERVICES, query=[LIMIT, CURSOR]
    )
    def get(self, request: Request) -> HttpResponse:
        return paging.page(request, _webhooks(_service(request)), _told, by="public_id")

    @described(
        "create_webhook",
        "Create a webhook: be told by signed POSTs",
        {201: webhook_shapes.WebhookCreated},
        "position_gone",
        *WITH_BODY,
        *FOR_SERVICES,
        request=WebhookBody,
    )
    def post(self, request: Request) -> HttpResponse:
        """The secret is shown now, and only now."""
        body = WebhookBody(data=request.data)
        body.is_valid(raise_exception=True)
        service = _service(request)
        row = control.create(service=service, **body.validated_data)
        return answer({**_told([find(service, row.public_id)])[0], "secret": row.secret}, status=201)


class OneWebhook(WebhookView):
    @described("webhook", "See a webhook", {200: webhook_shapes.WebhookAbout}, "unknown_webhook", *FOR_SERVICES)
    def get(self, request: Request, webhook: str) -> HttpResponse:
        return answer(_told([find(_service(request), webhook)])[0])

    @described(
        "change_webhook",
        "Change a webhook, switch it off and on",
        {200: webhook_shapes.WebhookAbout},
        "unknown_webhook",
        *WITH_BODY,
        *FOR_SERVICES,
        request=WebhookChanges,
    )
    def patch(self, request: Request, webhook: str) -> HttpResponse:
        """Changes what is told, keeps the rest. `disabled` false: it goes on where it stopped."""
        row = find(_service(request), webhook)
        body = WebhookChanges(data=request.data)
        body.is_valid(raise_exception=True)
        told = dict(body.validated_data)
        disabled = told.pop("disabled", None)
        if told:
            control.change(webhook=row, **told)
        if disabled is True:
            registry.disable(webhook=row, reason="Switched off over the API.")
        elif disabled is False:
            control.enable(row)
        return answer(_told([find(_service(request), webhook)])[0])

    @described("delete_webhook", "Delete a webhook", {204: None}, "unknown_webhook", *FOR_SERVICES)
    def delete(self, request: Request, webhook: str) -> HttpResponse:
        """With its deliveries, also those that were not through."""
        control.delete(find(_service(request), webhook))
        return HttpResponse(status=204)


class Secret(WebhookView):
    """A new secret. The one before signs as well for a day."""

    @described(
        "rotate_webhook_secret",
        "Create a new secret",
        {201: webhook_shapes.FreshSecret},
        "unknown_webhook",
        *FOR_SERVICES,
    )
    def post(self, request: Request, webhook: str) -> HttpResponse:
        row = find(_service(request), webhook)
        secret = registry.rotate_secret(webhook=row)
        until = telling.moment(row.old_secret_until)
        return answer({"id": row.public_id, "secret": secret, "old_secret_until": until}, status=201)


class Test(WebhookView):
    """A delivery of the event `ping`, which goes the way of all others."""

    @described(
        "test_webhook",
        "Send a webhook a ping",
        {201: webhook_shapes.DeliveryAbout},
        "unknown_webhook",
        "invalid",
        *FOR_SERVICES,
    )
    def post(self, request: Request, webhook: str) -> HttpResponse:
        return answer(_told_deliveries([control.ping(find(_service(request), webhook))])[0], status=201)


class Deliveries(WebhookView):
    """Newest first. The dead letters: `state=dead`."""

    @described(
        "webhook_deliveries",
        "List a webhook's deliveries and dead letters",
        {200: webhook_shapes.DeliveryList},
        "unknown_webhook",
        "invalid",
        *FOR_SERVICES,
        query=[asks("state", str, "Only those in this state.", enum=DeliveryState.values), LIMIT, CURSOR],
    )
    def get(self, request: Request, webhook: str) -> HttpResponse:
        rows = WebhookDelivery.objects.filter(webhook=find(_service(request), webhook)).defer("body")
        state = params.choice(request, "state", among=DeliveryState.values)
        return paging.page(
            request, rows.in_state(state) if state else rows, _told_deliveries, by="message_id", newest_first=True
        )


class Retry(WebhookView):
    """Due now, with its old id: a dead letter, one that waits for its next attempt, one that was delivered.

    One that a worker may be posting is left to it.
    """

    @described(
        "retry_webhook_delivery",
        "Send a delivery again",
        {200: webhook_shapes.DeliveryAbout},
        "unknown_webhook",
        "unknown_delivery",
        *FOR_SERVICES,
    )
    def post(self, request: Request, webhook: str, delivery: str) -> HttpResponse:
        rows = WebhookDelivery.objects.filter(webhook=find(_service(request), webhook))
        row = rows.filter(message_id=delivery).first() if is_name(delivery) else None
        if row is None:
            raise ProtocolError("unknown_delivery")
        control.retry(row)
        return answer(_told_deliveries([row])[0])


def find(service: Service, public_id: str) -> Webhook:
    """The service's webhook. Raises `unknown_webhook`, the same whether it is another's or nobody's (P9)."""
    row = _webhooks(service).filter(public_id=public_id).first() if is_name(public_id) else None
    if row is None:
        raise ProtocolError("unknown_webhook")
    return row


def _service(request: Request) -> Service:
    return key_of(request).service


def _webhooks(service: Service) -> QuerySet[Webhook]:
    """With the number of deliveries that are not through, and of dead letters."""
    return Webhook.objects.filter(service=service).annotate(
        waiting=Count("deliveries", filter=Q(deliveries__delivered_at=None, deliveries__failed_at=None)),
        dead=Count("deliveries__failed_at"),
    )


def _told(rows: Sequence[Webhook]) -> list[dict[str, Any]]:
    return [
        {
            "id": row.public_id,
            "url": row.url,
            "events": row.events,
            "position": row.position,
            "open": row.waiting,  # type: ignore[attr-defined]
            "dead": row.dead,  # type: ignore[attr-defined]
            "created_at": telling.moment(row.created_at),
            "disabled_at": telling.moment(row.disabled_at),
            "disabled_reason": row.disabled_reason,
        }
        for row in rows
    ]


def _told_deliveries(rows: Sequence[WebhookDelivery]) -> list[dict[str, Any]]:
    return [
        {
            "id": row.message_id,
            "event": row.event,
            "state": row.state,
            "attempts": row.attempts,
            "created_at": telling.moment(row.created_at),
            "next_attempt_at": telling.moment(row.next_attempt_at) if row.state == DeliveryState.OPEN else None,
            "delivered_at": telling.moment(row.delivered_at),
            "failed_at": telling.moment(row.failed_at),
            "last_status": row.last_status,
            "last_error": row.last_error,
        }
        for row in rows
    ]
