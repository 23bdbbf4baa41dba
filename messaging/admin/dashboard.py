"""The figures on the admin's first page, each a link to the rows behind it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import admin
from django.db.models import Count, F, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from apps_registry.models import Device
from messaging.admin import looks
from messaging.admin.results import PROBLEMS
from messaging.models import (
    AppStorage,
    DeliveryState,
    Gap,
    Presence,
    PresenceState,
    Result,
    Subscription,
    WebhookDelivery,
)

RECENT = timedelta(hours=24)


class Figure(NamedTuple):
    label: str
    value: str
    address: str
    #: Whether somebody should look.
    alarming: bool = False


def figures(request: HttpRequest) -> Iterator[Figure]:
    """What the user may see. Seven queries."""
    since = timezone.now() - RECENT
    if request.user.has_perm("messaging.view_devicebacklog"):
        yield from _presence()
        yield from _backlog()
    if request.user.has_perm("messaging.view_gap"):
        gaps = Gap.objects.filter(created_at__gte=since).count()
        yield Figure("gaps in 24 h", looks.number(gaps), _list("gap", "within=24h"), bool(gaps))
    if request.user.has_perm("messaging.view_appstorage") and (full := AppStorage.objects.full().count()):
        yield Figure("apps whose storage is full", looks.number(full), _list("appstorage", ""), True)
    if request.user.has_perm("messaging.view_result"):
        failed = Result.objects.filter(reported_at__gte=since, status__in=PROBLEMS).count()
        address = _list("result", "status=problem&within=24h")
        yield Figure("failed results in 24 h", looks.number(failed), address, bool(failed))
    if request.user.has_perm("messaging.view_webhookdelivery"):
        dead = WebhookDelivery.objects.in_state(DeliveryState.DEAD).count()
        yield Figure("webhook dead letters", looks.number(dead), _list("webhookdelivery", "state=dead"), bool(dead))


def _presence() -> Iterator[Figure]:
    connected = Presence.objects.exclude(state=PresenceState.OFFLINE).order_by()
    by_state = dict(connected.values_list("state").annotate(Count("pk")))
    by_state[PresenceState.OFFLINE] = Device.objects.count() - sum(by_state.values())
    for state in PresenceState:
        found = looks.number(max(by_state.get(state, 0), 0))
        yield Figure(f"devices {'' if state == 'offline' else 'in '}{state}", found, _devices(f"state={state}"))


def _backlog() -> Iterator[Figure]:
    """One pass over the cursors."""
    stopped = Q(stopped_at__isnull=False, stopped_at__gte=F("stream__tail"))
    each = (
        Subscription.objects.order_by()
        .values("device")
        .annotate(pending=Sum(F("stream__head") - F("processed")), stops=Count("pk", filter=stopped))
    )
    found = each.aggregate(
        total=Sum("pending"),
        behind=Count("device", filter=Q(pending__gt=settings.MEANWHILE_BACKLOG_SOFT)),
        stopped=Count("device", filter=Q(stops__gt=0)),
    )
    yield Figure("messages pending", looks.number(found["total"] or 0), _devices("backlog=yes"))
    behind = found["behind"]
    yield Figure("devices falling behind", looks.number(behind), _devices("backlog=behind"), bool(behind))
    if found["stopped"]:
        yield Figure("devices stopped at a failure", looks.number(found["stopped"]), _devices("why=stopped"), True)


def _list(model: str, filters: str) -> str:
    return f"{reverse(f'admin:messaging_{model}_changelist')}?{filters}"


def _devices(filters: str) -> str:
    return _list("devicebacklog", filters)


# The site's first page takes extra context; a site of our own would need another entry in INSTALLED_APPS for this line.
_index = admin.site.index


def index(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    return _index(request, {"title": "Overview", "figures": list(figures(request)), **(extra_context or {})})


admin.site.index = index  # type: ignore[method-assign]
