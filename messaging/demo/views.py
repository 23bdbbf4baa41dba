"""The page, and three calls that a customer's own back end would have: a token, a publish, what the services heard."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST
from msgspec import Raw

from apps_registry.models import App, Device, Service, ServiceKey
from messaging.demo.content import APP, ROOM, SERVICES, TYPES
from messaging.live import node
from messaging.log import reading
from messaging.models import Presence, Result
from messaging.protocol import jsontext, wire
from messaging.protocol.errors import ProtocolError
from messaging.publishing import request as publish_request
from messaging.registration import register

#: Most messages of one press of a button, and results of one answer.
MOST = 100
PAGE = 50

View = Callable[[HttpRequest], HttpResponse]


def demo_only(view: View) -> View:
    """404 without MEANWHILE_DEMO; refusals become problems."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if not settings.MEANWHILE_DEMO:
            raise Http404
        try:
            return view(request)
        except ProtocolError as error:
            return _problem(error)
        except ValidationError as error:
            return _problem(ProtocolError("invalid", " ".join(error.messages)))
        except App.DoesNotExist:
            return _problem(ProtocolError("not_found", "There is no demo app: run manage.py setup_demo."))

    return guarded


def _problem(error: ProtocolError) -> HttpResponse:
    return JsonResponse(error.as_problem(), status=error.code.status, content_type="application/problem+json")


@require_GET
@never_cache
@ensure_csrf_cookie
def index(request: HttpRequest) -> HttpResponse:
    """The test client; without MEANWHILE_DEMO a small page that says that Meanwhile runs."""
    if not settings.MEANWHILE_DEMO:
        return render(request, "demo/plain.html")
    response = render(request, "demo/index.html", {"room": ROOM})
    # Not every browser takes 'self' for the WebSocket of the same host.
    host = request.get_host()
    response["Content-Security-Policy"] = (
        f"default-src 'self'; connect-src 'self' ws://{host} wss://{host}; frame-ancestors 'none';"
        " base-uri 'none'; form-action 'self'; object-src 'none'"
    )
    return response


@demo_only
@require_POST
def device(request: HttpRequest) -> HttpResponse:
    """{device} → {device, token, expires_at}: the device, in its own stream and the lobby."""
    body = _body(request)
    name = body.get("device")
    if not isinstance(name, str):
        raise ProtocolError("invalid", "`device` is the name of a device.")
    made = register(app=App.objects.get(name=APP), device=name, platform="browser", streams=[ROOM])
    return JsonResponse(
        {"device": made.device.name, "token": made.token, "expires_at": wire.instant(made.expires_at)}, status=201
    )


@demo_only
@require_POST
def publish(request: HttpRequest) -> HttpResponse:
    """{to, name, data, key?, count?} → {service, items}, published by the service the type belongs to."""
    body = _body(request)
    name, to, count = body.get("name"), body.get("to"), body.get("count", 1)
    if not isinstance(name, str) or name not in TYPES:
        raise ProtocolError("unknown_name", f"The demo has {', '.join(TYPES)}.")
    if not isinstance(to, str) or not (to == ROOM or to.startswith("device:")):
        raise ProtocolError("not_allowed", f"The demo publishes to a device or to {ROOM}.")
    if type(count) is not int or not 1 <= count <= MOST:
        raise ProtocolError("invalid", f"`count` is 1 to {MOST}.")
    draft = wire.dumps({"to": to, "name": name, "key": body.get("key", ""), "data": body.get("data")})
    service = Service.objects.select_related("app").get(app=App.objects.get(name=APP), name=TYPES[name].service)
    # A service in the server's own process needs no secret: the key that stands for it is not stored.
    command = publish_request([Raw(draft.encode())] * count, key=ServiceKey(service=service))
    answer = node.current().journal.call(command)
    return HttpResponse(f'{{"service":"{service.name}","items":{answer.items}}}', content_type="application/json")


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


def _body(request: HttpRequest) -> dict[str, Any]:
    value = jsontext.strict(jsontext.text_of(request.body), max_depth=settings.MEANWHILE_MAX_DEPTH)
    if not isinstance(value, dict):
        raise ProtocolError("invalid", "The body is an object.")
    return value
