"""The app a service belongs to: what it set, what it has stored, what bounds it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from apps_registry import services
from apps_registry.models import App
from messaging.api import account_shapes, telling
from messaging.api.bodies import AppChanges
from messaging.api.edge import ServiceView, answer, app_of
from messaging.api.schema import FOR_SERVICES, WITH_BODY, described
from messaging.models import AppStorage


class OwnApp(ServiceView):
    @described("app", "See the app: room rate, what is stored, limits", {200: account_shapes.AppAbout}, *FOR_SERVICES)
    def get(self, request: Request) -> HttpResponse:
        return answer(_told(app_of(request)))

    @described(
        "change_app",
        "Change the app's room rate",
        {200: account_shapes.AppAbout},
        *WITH_BODY,
        *FOR_SERVICES,
        request=AppChanges,
    )
    def patch(self, request: Request) -> HttpResponse:
        """Changes what is told. Limits are the operator's; the name stands in every token, and stays."""
        body = AppChanges(data=request.data)
        body.is_valid(raise_exception=True)
        app = app_of(request)
        if "room_rate" in body.validated_data:
            services.set_room_rate(app=app, room_rate=body.validated_data["room_rate"])
        return answer(_told(app))


def _told(app: App) -> dict[str, Any]:
    storage = AppStorage.objects.filter(app=app).first()
    limit = settings.MEANWHILE_APP_BYTES if app.storage_limit is None else app.storage_limit
    return {
        "app": app.name,
        "room_rate": app.room_rate,
        "stored": storage.stored if storage else 0,
        "limits": {
            "publish": settings.MEANWHILE_RATE_PUBLISH,
            "bytes": settings.MEANWHILE_RATE_BYTES,
            "read": settings.MEANWHILE_RATE_READ,
            "manage": settings.MEANWHILE_RATE_MANAGE,
            "device": settings.MEANWHILE_RATE_DEVICE,
            "connections": settings.MEANWHILE_APP_CONNECTIONS,
            "storage": limit or None,
        },
        "created_at": telling.moment(app.created_at),
    }
