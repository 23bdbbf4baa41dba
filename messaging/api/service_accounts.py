"""Services of an app and their keys. Keys need the scope manage also to look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse
from rest_framework.request import Request

from apps_registry import keys, services
from apps_registry.models import App, Scope, Service, ServiceKey
from apps_registry.names import is_name
from messaging.api import account_shapes, paging, params, telling
from messaging.api.bodies import KeyBody, ServiceBody
from messaging.api.edge import ServiceView, answer, app_of, key_of
from messaging.api.schema import CURSOR, FOR_SERVICES, LIMIT, WITH_BODY, asks, described
from messaging.protocol.errors import ProtocolError


class Services(ServiceView):
    @described(
        "services",
        "List the app's services",
        {200: account_shapes.ServiceList},
        "invalid",
        *FOR_SERVICES,
        query=[LIMIT, CURSOR],
    )
    def get(self, request: Request) -> HttpResponse:
        return paging.page(request, _services(app_of(request)), _told)

    @described(
        "register_service",
        "Register a service",
        {200: account_shapes.ServiceAbout, 201: account_shapes.ServiceAbout},
        *WITH_BODY,
        *FOR_SERVICES,
        request=ServiceBody,
    )
    def post(self, request: Request) -> HttpResponse:
        """Idempotent. It has no key yet."""
        body = ServiceBody(data=request.data)
        body.is_valid(raise_exception=True)
        app = app_of(request)
        row, created = services.register_service(app=app, name=body.validated_data["service"])
        return answer(_told([_services(app).get(pk=row.pk)])[0], status=201 if created else 200)


class KeyView(ServiceView):
    reading = Scope.MANAGE


class Keys(KeyView):
    @described(
        "keys",
        "List keys, and when each was last used",
        {200: account_shapes.KeyList},
        "invalid",
        *FOR_SERVICES,
        query=[asks("service", str, "Only this service's."), LIMIT, CURSOR],
    )
    def get(self, request: Request) -> HttpResponse:
        """All of the app, also those that are revoked, in the order of their prefixes."""
        service = params.word(request, "service")
        rows = _keys(app_of(request))
        return paging.page(request, rows.filter(service__name=service) if service else rows, _keys_told, by="prefix")

    @described(
        "create_key",
        "Create a key",
        {201: account_shapes.NewKey},
        "too_many_keys",
        *WITH_BODY,
        *FOR_SERVICES,
        request=KeyBody,
    )
    def post(self, request: Request) -> HttpResponse:
        """The key itself is in the answer, and nowhere else. It can have the scopes of the calling key, no others."""
        body = KeyBody(data=request.data)
        body.is_valid(raise_exception=True)
        by = key_of(request)
        service = _service(by.service, body.validated_data.get("service"))
        return _given(*keys.give(by=by, service=service, scopes=body.validated_data["scopes"]))


class Rotate(KeyView):
    """A new key of the same service and scopes. The old one stays good until it is revoked."""

    @described(
        "rotate_key",
        "Create a key to replace this one",
        {201: account_shapes.NewKey},
        "unknown_key",
        "too_many_keys",
        *FOR_SERVICES,
    )
    def post(self, request: Request, prefix: str) -> HttpResponse:
        return _given(*keys.rotate(by=key_of(request), key=find(app_of(request), prefix)))


class OneKey(KeyView):
    @described("revoke_key", "Revoke a key", {204: None}, "unknown_key", "last_key", *FOR_SERVICES)
    def delete(self, request: Request, prefix: str) -> HttpResponse:
        """Revokes it. Sockets that it opened are ended. Idempotent; it stays in the list."""
        keys.retire(key=find(app_of(request), prefix))
        return HttpResponse(status=204)


def find(app: App, prefix: str) -> ServiceKey:
    """The app's key. Raises `unknown_key`, the same whether it is another app's or nobody's (P9)."""
    row = _keys(app).filter(prefix=prefix).first() if is_name(prefix) else None
    if row is None:
        raise ProtocolError("unknown_key")
    return row


def _service(own: Service, name: str | None) -> Service:
    """The caller's own where none is named."""
    if name is None:
        return own
    row = Service.objects.filter(app=own.app, name=name).first()
    if row is None:
        raise ValidationError({"service": f"No service of this app: {name}."})
    return row


def _services(app: App) -> QuerySet[Service]:
    return Service.objects.filter(app=app).annotate(active=Count("keys", filter=Q(keys__revoked_at=None)))


def _keys(app: App) -> QuerySet[ServiceKey]:
    return ServiceKey.objects.filter(service__app=app).select_related("service")


def _told(rows: Sequence[Service]) -> list[dict[str, Any]]:
    return [
        {"service": row.name, "keys": row.active, "created_at": telling.moment(row.created_at)}  # type: ignore[attr-defined]
        for row in rows
    ]


def _keys_told(rows: Sequence[ServiceKey]) -> list[dict[str, Any]]:
    return [
        {
            "prefix": row.prefix,
            "service": row.service.name,
            "scopes": row.scopes,
            "created_at": telling.moment(row.created_at),
            "last_used_at": telling.moment(row.last_used_at),
            "revoked_at": telling.moment(row.revoked_at),
        }
        for row in rows
    ]


def _given(key: ServiceKey, text: str) -> HttpResponse:
    key.refresh_from_db(fields=["created_at"])
    return answer({**_keys_told([key])[0], "key": text}, status=201)
