"""The page, and three calls that a customer's own back end would have: a token, a publish, what the services heard."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

from apps_registry.models import App, Device, Service
from messaging.demo.content import APP, ROOM, SERVICES, TYPES
from messaging.demo.edge import body_of, demo_only, page, published, registered
from messaging.log import reading
from messaging.models import Presence, Result
from messaging.protocol import wire
from messaging.protocol.errors import ProtocolError

#: Most messages of one press of a button, and results of one answer.
MOST = 100
PAGE = 50


@require_GET
@never_cache
@ensure_csrf_cookie
def index(request: HttpRequest) -> HttpResponse:
    """The test client; without MEANWHILE_DEMO a small page that says that Meanwhile runs."""
    if not settings.MEANWHILE_DEMO:
        return render(request, "demo/plain.html")
    return page(request, "demo/index.html", {"room": ROOM})


@demo_only
@require_POST
def device(request: HttpRequest) -> HttpResponse:
    """{device} → {device, token, expires_at}: the device, in its own stream and the lobby."""
    return registered(APP, body_of(request).get("device"), [ROOM])


@demo_only
@require_POST
def publish(request: HttpRequest) -> HttpResponse:
    """{to, name, data, key?, count?} → {service, items}, published by the service the type belongs to."""
    body = body_of(request)
    name, to, count = body.get("name"), body.get("to"), body.get("count", 1)
    if not isinstance(name, str) or name not in TYPES:
        raise ProtocolError("unknown_name", f"The demo has {', '.join(TYPES)}.")
    if not isinstance(to, str) or not (to == ROOM or to.startswith("device:")):
        raise ProtocolError("not_allowed", f"The demo publishes to a device or to {ROOM}.")
    if type(count) is not int or not 1 <= count <= MOST:
        raise ProtocolError("invalid", f"`count` is 1 to {MOST}.")
    draft = {"to": to, "name": name, "key": body.get("key", ""), "data": body.get("data")}
    return published(APP, TYPES[name].service, [draft] * count)


@demo_only
@require_GET
@never_cache
def results(request: HttpRequest) -> HttpResponse:
    """?after=&device= → {items, after, device}: what the services heard since, and the device as the server sees it.

    `after` is the earlier answer's; without it the newest few. device: null if there is none of this name.
    """
    app = App.objects.get(name=APP)
    after = _positions(request.GET.get("after", ""))
    items: list[Result] = []
    for service in Service.objects.filter(app=app, name__in=SERVICES).select_related("feed"):
        feed = getattr(service, "feed", None)
        start = after.get(service.name, max(0, feed.head - 10) if feed else 0)
        heard = Result.objects.filter(service=service, position__gt=start).select_related("service", "device", "stream")
        found = list(heard.order_by("position")[:PAGE])
        after[service.name] = found[-1].position if found else start
        items += found
    items.sort(key=lambda item: item.pk)
    positions = ",".join(f"{service}:{position}" for service, position in sorted(after.items()))
    name = request.GET.get("device", "")
    return JsonResponse({"items": [_heard(item) for item in items], "after": positions, "device": _seen(app, name)})


def _heard(item: Result) -> dict[str, Any]:
    return {
        "position": item.position,
        "service": item.service.name,
        "device": item.device.name,
        "stream": item.stream.name,
        "from": item.from_offset,
        "upto": item.upto,
        "status": item.status,
        "code": item.code,
        "detail": item.detail,
        "reported_at": wire.instant(item.reported_at),
    }


def _seen(app: App, name: str) -> dict[str, Any] | None:
    """The device as the server sees it: where it is, its cursors, and what waits for it."""
    device = Device.objects.filter(app=app, name=name).first()
    if device is None:
        return None
    presence = Presence.objects.filter(device=device).first()
    entries = reading.entries([device.pk])[device.pk]
    values = reading.unread_values([entry.subscription_id for entry in entries])
    return {
        "device": device.name,
        "state": presence.state if presence else "offline",
        "streams": [
            {
                **entry.as_frame(),
                "waiting": entry.head - entry.processed,
                "values": len(values[entry.subscription_id]),
                "updates": sum(value.coalesced for value in values[entry.subscription_id]),
            }
            for entry in entries
        ],
    }


def _positions(text: str) -> dict[str, int]:
    """`game:12,weather:0` as {service: position}."""
    found: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        service, _, position = part.partition(":")
        if service not in SERVICES or not position.isdecimal() or len(position) > 15:
            raise ProtocolError("invalid", "`after` is what an earlier answer gave.")
        found[service] = int(position)
    return found
