"""Devices of an app: register, look, new token, revoke."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from rest_framework.request import Request

from apps_registry.devices import issue_token, revoke_device
from apps_registry.models import App, Device
from apps_registry.names import is_name
from messaging import registration
from messaging.api import managed_shapes, paging, params, telling
from messaging.api.bodies import DeviceBody, HistoryBody
from messaging.api.edge import ServiceView, answer, app_of
from messaging.api.schema import CURSOR, FOR_SERVICES, LIMIT, WITH_BODY, asks, described
from messaging.live import node
from messaging.log import reading
from messaging.log.effects import Effects
from messaging.models import PresenceState, Subscription
from messaging.protocol.errors import ProtocolError


class Devices(ServiceView):
    @described(
        "devices",
        "List devices with presence and backlog",
        {200: managed_shapes.DeviceList},
        "invalid",
        *FOR_SERVICES,
        query=[
            asks("user", str, "Only this user's."),
            asks("state", str, "Only those in this state.", enum=PresenceState.values),
            LIMIT,
            CURSOR,
        ],
    )
    def get(self, request: Request) -> HttpResponse:
        rows = _devices(app_of(request))
        user = params.word(request, "user")
        state = params.choice(request, "state", among=PresenceState.values)
        if user:
            rows = rows.filter(user=user)
        if state == PresenceState.OFFLINE:
            rows = rows.filter(Q(presence=None) | Q(presence__state=state))
        elif state:
            rows = rows.filter(presence__state=state)
        return paging.page(request, rows, _told)

    @described(
        "register_device",
        "Register a device",
        {201: managed_shapes.Registered},
        "unknown_stream",
        *WITH_BODY,
        *FOR_SERVICES,
        request=DeviceBody,
    )
    def post(self, request: Request) -> HttpResponse:
        body = DeviceBody(data=request.data)
        body.is_valid(raise_exception=True)
        told = dict(body.validated_data)
        history = HistoryBody.read(told.pop("history", {}))
        done = registration.register(app=app_of(request), history=history, **told)
        return answer(
            {
                "device": done.device.name,
                "user": done.device.user,
                "token": done.token,
                "expires_at": telling.moment(done.expires_at),
                "streams": done.streams,
            },
            status=201,
        )


class OneDevice(ServiceView):
    @described(
        "device", "See a device with its streams", {200: managed_shapes.DeviceWhole}, "unknown_device", *FOR_SERVICES
    )
    def get(self, request: Request, device: str) -> HttpResponse:
        row = find(app_of(request), device)
        streams = [
            {**entry.as_frame(), "backlog": entry.head - entry.processed} for entry in reading.entries([row.pk])[row.pk]
        ]
        return answer({**_told([row])[0], "streams": streams})


class Token(ServiceView):
    """One more token. Those the device has stay good until they expire; `revoke` is what ends them."""

    @described(
        "new_token",
        "Issue a fresh token",
        {201: managed_shapes.FreshToken},
        "unknown_device",
        "device_revoked",
        *FOR_SERVICES,
    )
    def post(self, request: Request, device: str) -> HttpResponse:
        row = find(app_of(request), device)
        token, expires_at = issue_token(device=row, life=settings.MEANWHILE_TOKEN_LIFE)
        return answer({"device": row.name, "token": token, "expires_at": telling.moment(expires_at)}, status=201)


class Revoke(ServiceView):
    """The device is kept out, open sockets end. Idempotent; its backlog stays until it is registered again."""

    @described("revoke_device", "Keep a device out", {200: managed_shapes.Revoked}, "unknown_device", *FOR_SERVICES)
    def post(self, request: Request, device: str) -> HttpResponse:
        row = find(app_of(request), device)
        if revoke_device(device=row):
            node.announce(Effects(devices=[row.pk]))
        return answer({"device": row.name, "revoked_at": telling.moment(row.revoked_at)})


def find(app: App, name: str) -> Device:
    """The app's device. Raises `unknown_device`, the same whether it is another app's or nobody's (P9)."""
    row = _devices(app).filter(name=name).first() if is_name(name) else None
    if row is None:
        raise ProtocolError("unknown_device")
    return row


def _devices(app: App) -> QuerySet[Device]:
    """With presence and backlog: how many messages of all its streams a device has not processed."""
    of_one = Subscription.objects.filter(device=OuterRef("pk")).values("device")
    summed = of_one.values(summed=Sum(F("stream__head") - F("processed")))
    # A query by device, not a GROUP BY: that would be made of all the app's devices for each page of them.
    backlog = Coalesce(Subquery(summed), 0)
    return Device.objects.filter(app=app).select_related("app", "presence").annotate(backlog=backlog)


def _told(rows: Sequence[Device]) -> list[dict[str, Any]]:
    return [
        {
            "device": row.name,
            "user": row.user,
            "platform": row.platform,
            "rooms": row.rooms,
            "presence": telling.presence(getattr(row, "presence", None)),
            "backlog": row.backlog,  # type: ignore[attr-defined]
            "created_at": telling.moment(row.created_at),
            "revoked_at": telling.moment(row.revoked_at),
        }
        for row in rows
    ]
