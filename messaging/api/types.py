"""Message types of an app: which change is of which kind. Stored messages keep the class they were stored with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpResponse
from rest_framework.request import Request

from apps_registry import services
from apps_registry.models import App, MessageType, Service
from apps_registry.names import is_name
from messaging.api import account_shapes, paging
from messaging.api.bodies import TypeBody, TypeChanges
from messaging.api.edge import ServiceView, answer, app_of
from messaging.api.schema import CURSOR, FOR_SERVICES, LIMIT, WITH_BODY, described
from messaging.protocol.errors import ProtocolError


class Types(ServiceView):
    @described(
        "types", "List message types", {200: account_shapes.TypeList}, "invalid", *FOR_SERVICES, query=[LIMIT, CURSOR]
    )
    def get(self, request: Request) -> HttpResponse:
        return paging.page(request, _types(app_of(request)), _told)

    @described(
        "set_type",
        "State a whole message type",
        {200: account_shapes.TypeAbout, 201: account_shapes.TypeAbout},
        *WITH_BODY,
        *FOR_SERVICES,
        request=TypeBody,
    )
    def post(self, request: Request) -> HttpResponse:
        """States the whole type: what is not told becomes its default."""
        body = TypeBody(data=request.data)
        body.is_valid(raise_exception=True)
        app = app_of(request)
        row, created = services.set_type(app=app, **_members(app, body.validated_data))
        return answer(_told([row])[0], status=201 if created else 200)


class OneType(ServiceView):
    @described("type", "See a message type", {200: account_shapes.TypeAbout}, "unknown_name", *FOR_SERVICES)
    def get(self, request: Request, name: str) -> HttpResponse:
        return answer(_told([_find(_types(app_of(request)), name)])[0])

    @described(
        "change_type",
        "Change members of a message type",
        {200: account_shapes.TypeAbout},
        "unknown_name",
        *WITH_BODY,
        *FOR_SERVICES,
        request=TypeChanges,
    )
    def patch(self, request: Request, name: str) -> HttpResponse:
        """Changes what is told, keeps the rest."""
        body = TypeChanges(data=request.data)
        body.is_valid(raise_exception=True)
        app = app_of(request)
        with transaction.atomic():
            # Locked: two changes of different members must not undo each other.
            row = _find(_types(app).select_for_update(), name)
            before = {
                "delivery": row.delivery,
                "priority": row.priority,
                "ttl_seconds": row.ttl_seconds,
                "result_required": row.result_required,
                "on_failure": row.on_failure,
                "report_to": list(row.report_to.all()),
            }
            told = {**before, **_members(app, body.validated_data)}
            row, _ = services.set_type(app=app, name=row.name, **told)
        return answer(_told([row])[0])


def _members(app: App, told: dict[str, Any]) -> dict[str, Any]:
    """A body in the words of `services.set_type`."""
    members = dict(told)
    if "ttl" in members:
        members["ttl_seconds"] = members.pop("ttl")
    if "report_to" in members:
        members["report_to"] = _services(app, members["report_to"])
    return members


def _services(app: App, names: Iterable[str]) -> list[Service]:
    wanted = set(names)
    found = list(Service.objects.filter(app=app, name__in=wanted))
    missing = wanted - {service.name for service in found}
    if missing:
        raise ValidationError({"report_to": f"No services of this app: {', '.join(sorted(missing))}."})
    return found


def _types(app: App) -> QuerySet[MessageType]:
    return MessageType.objects.filter(app=app).prefetch_related("report_to")


def _find(rows: QuerySet[MessageType], name: str) -> MessageType:
    row = rows.filter(name=name).first() if is_name(name) else None
    if row is None:
        raise ProtocolError("unknown_name")
    return row


def _told(rows: Sequence[MessageType]) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "delivery": row.delivery,
            "priority": row.priority,
            "ttl": row.ttl_seconds,
            "result_required": row.result_required,
            "on_failure": row.on_failure,
            "report_to": sorted(service.name for service in row.report_to.all()),
        }
        for row in rows
    ]
