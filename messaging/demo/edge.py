"""What both pages of the demo share: who may call, how a page is served, a body read, a message published."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from msgspec import Raw

from apps_registry.models import App, Service, ServiceKey
from messaging.live import node
from messaging.protocol import jsontext, wire
from messaging.protocol.errors import ProtocolError
from messaging.publishing import request as publish_request
from messaging.registration import register

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


def page(request: HttpRequest, template: str, context: dict[str, Any], servers: Iterable[str] = ()) -> HttpResponse:
    """The page under a policy that allows nothing inline, and connections to here only, and to `servers` (origins)."""
    response = render(request, template, context)
    # Not every browser takes 'self' for the WebSocket of the same host.
    hosts = [request.get_host(), *(server.partition("://")[2] for server in servers)]
    sockets = " ".join(f"ws://{host} wss://{host}" for host in hosts)
    connect = " ".join(["'self'", *servers, sockets])
    response["Content-Security-Policy"] = (
        f"default-src 'self'; connect-src {connect}; frame-ancestors 'none';"
        " base-uri 'none'; form-action 'self'; object-src 'none'"
    )
    return response


def body_of(request: HttpRequest) -> dict[str, Any]:
    value = jsontext.strict(jsontext.text_of(request.body), max_depth=settings.MEANWHILE_MAX_DEPTH)
    if not isinstance(value, dict):
        raise ProtocolError("invalid", "The body is an object.")
    return value


def registered(app: str, device: object, rooms: list[str]) -> HttpResponse:
    """{device, token, expires_at}: the device of that name, in its own stream and the rooms."""
    if not isinstance(device, str):
        raise ProtocolError("invalid", "`device` is the name of a device.")
    made = register(app=App.objects.get(name=app), device=device, platform="browser", streams=rooms)
    told = {"device": made.device.name, "token": made.token, "expires_at": wire.instant(made.expires_at)}
    return JsonResponse(told, status=201)


def published(app: str, service: str, drafts: list[dict[str, Any]]) -> HttpResponse:
    """{service, items}: the drafts published, in their order, in the name of a service.

    A service in the server's own process needs no secret: the key that stands for it is not stored.
    """
    by = Service.objects.select_related("app").get(app=App.objects.get(name=app), name=service)
    raw = [Raw(wire.dumps(draft).encode()) for draft in drafts]
    answer = node.current().journal.call(publish_request(raw, key=ServiceKey(service=by)))
    return HttpResponse(f'{{"service":"{by.name}","items":{answer.items}}}', content_type="application/json")
