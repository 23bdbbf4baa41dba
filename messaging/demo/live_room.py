"""The live-room scene: three devices in one room, what is published there, and the room as the server sees it."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

from apps_registry.models import App
from messaging.demo.content import LIVE, LIVE_TYPES, SHOW, SHOWS
from messaging.demo.edge import body_of, demo_only, page, published, registered
from messaging.log import online, sql
from messaging.models import RoomOnline, Stream, Subscription
from messaging.operations import close_room
from messaging.protocol import shedding
from messaging.protocol.errors import ProtocolError

PHONES = ("a", "b", "c")
#: Most messages of one call.
MOST = 100
#: What the page publishes: how many are on line, the server says by itself.
SENT = [name for name in LIVE_TYPES if name != online.NAME]

_ROOM = re.compile(re.escape(SHOWS) + r"[A-Za-z0-9.-]{1,60}")


@demo_only
@require_GET
@never_cache
@ensure_csrf_cookie
def index(request: HttpRequest) -> HttpResponse:
    """The scene. `?b=http://…`: phone B reaches this server by another address (a proxy of yours), which must stand
    in MEANWHILE_ORIGINS, as must the page's own: the token goes there.
    """
    servers = {phone: request.GET[phone] for phone in PHONES if phone in request.GET}
    for server in servers.values():
        if server not in settings.MEANWHILE_ORIGINS:
            raise ProtocolError("not_allowed", f"{server[:100]} is not in MEANWHILE_ORIGINS.")
    phones = [{"letter": phone, "server": servers.get(phone, "")} for phone in PHONES]
    return page(request, "demo/live-room.html", {"phones": phones, "shows": SHOWS}, servers.values())


@demo_only
@require_POST
def device(request: HttpRequest) -> HttpResponse:
    """{device, room} → {device, token, expires_at}: the device, in its own stream and the room."""
    body = body_of(request)
    return registered(LIVE, body.get("device"), [_room(body.get("room"))])


@demo_only
@require_POST
def publish(request: HttpRequest) -> HttpResponse:
    """{room, messages: [{name, data}]} → {service, items}: what the show sends, in one go."""
    body = body_of(request)
    room, messages = _room(body.get("room")), body.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= MOST:
        raise ProtocolError("invalid", f"`messages` has 1 to {MOST}.")
    return published(LIVE, SHOW, [_draft(room, message) for message in messages])


def _draft(room: str, message: object) -> dict[str, Any]:
    told = message if isinstance(message, dict) else {}
    name = told.get("name")
    if not isinstance(name, str) or name not in SENT:
        raise ProtocolError("unknown_name", f"A show sends {', '.join(SENT)}.")
    return {"to": room, "name": name, "data": told.get("data")}


@demo_only
@require_POST
def close(request: HttpRequest) -> HttpResponse:
    """{room} → {room, closed}: the last word, then the end: later publishes are refused with 410."""
    stream = _stream(_room(body_of(request).get("room")))
    if stream is None:
        raise ProtocolError("unknown_stream")
    if stream.closed_at is None:
        published(LIVE, SHOW, [{"to": stream.name, "name": "command", "data": {"do": "close"}}])
        close_room(stream)
    return JsonResponse({"room": stream.name, "closed": True})


@demo_only
@require_GET
@never_cache
def room(request: HttpRequest) -> HttpResponse:
    """?room= → the room as the server sees it: its log, its rate, how many are on line, and each member's cursors.

    null: nobody has been there.
    `ahead`: seconds of messages it has taken and not sent yet, under its rate; at `low_ahead` it sheds what is of low
    priority, at `most_ahead` the rest but commands.
    """
    stream = _stream(_room(request.GET.get("room")))
    if stream is None:
        return JsonResponse(None, safe=False)
    counted = RoomOnline.objects.filter(stream=stream).first()
    members = Subscription.objects.filter(stream=stream).select_related("device__presence").order_by("device__name")
    return JsonResponse(
        {
            "room": stream.name,
            "head": stream.head,
            "shed": stream.shed,
            "closed": stream.closed_at is not None,
            "online": counted.online if counted else 0,
            "rate": stream.app.room_rate,
            "ahead": round(max(0.0, stream.busy_until - sql.now().timestamp()), 3),
            "low_ahead": shedding.LOW_BURST,
            "most_ahead": shedding.BURST,
            "devices": [_member(member) for member in members[: len(PHONES)]],
        }
    )


def _member(member: Subscription) -> dict[str, Any]:
    presence = getattr(member.device, "presence", None)
    return {
        "device": member.device.name,
        "state": presence.state if presence else "offline",
        "received": member.received,
        "processed": member.processed,
    }


def _room(name: object) -> str:
    if not isinstance(name, str) or not _ROOM.fullmatch(name):
        raise ProtocolError("not_allowed", f"The scene has rooms named {SHOWS}….")
    return name


def _stream(name: str) -> Stream | None:
    return Stream.objects.select_related("app").filter(app=App.objects.get(name=LIVE), name=name).first()
