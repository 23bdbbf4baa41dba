"""What the demo consists of: two apps with services, types and rooms. `setup_demo` makes it, the pages show it."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from django.contrib.auth import get_user_model
from django.db import transaction

from apps_registry.models import App, Delivery, MessageType, Priority, Service
from apps_registry.services import create_app, create_service, set_type
from messaging.log import logs, online
from messaging.models import new_epoch

APP = "demo"
ROOM = "room:lobby"
ADMIN = "admin"

GAME, WEATHER, ROOM_HOST = "game", "weather", "room-host"
SERVICES = (GAME, WEATHER, ROOM_HOST)


#: The live-room scene: an app of its own, since a room's rate is its app's. Each open page has a room.
LIVE = "live-room"
SHOW = "show"
SHOWS = "room:show-"
#: What a room of the scene takes a second: little, so that a flood can be made by hand.
ROOM_RATE = 20


class DemoType(NamedTuple):
    delivery: str
    service: str
    priority: str = Priority.NORMAL.value
    ttl: int | None = None


TYPES = {
    "walk": DemoType(Delivery.EVERY.value, GAME),
    "turn": DemoType(Delivery.EVERY.value, GAME),
    "sit": DemoType(Delivery.EVERY.value, GAME),
    "weather": DemoType(Delivery.LATEST.value, WEATHER),
    "gift": DemoType(Delivery.EVERY.value, ROOM_HOST),
    "chat": DemoType(Delivery.TRANSIENT.value, ROOM_HOST),
}

LIVE_TYPES = {
    "chat": DemoType(Delivery.TRANSIENT.value, SHOW, Priority.LOW.value),
    "gift": DemoType(Delivery.EVERY.value, SHOW),
    "packet": DemoType(Delivery.EVERY.value, SHOW),
    # A question is worth nothing once the answers are in.
    "quiz": DemoType(Delivery.EVERY.value, SHOW, ttl=20),
    "command": DemoType(Delivery.EVERY.value, SHOW, Priority.CONTROL.value),
    online.NAME: DemoType(Delivery.LATEST.value, SHOW),
}


@transaction.atomic
def make_app() -> str | None:
    """The demo's apps, whole; the text of the game service's key if the first is new. Idempotent.

    What is there stays as it is: types may have been changed in the admin.
    """
    key = None
    app = App.objects.filter(name=APP).first()
    if app is None:
        made = create_app(name=APP, types={}, service=GAME)
        app, key = made.app, made.key
    _complete(app, TYPES)
    logs.create([(app.pk, "room", ROOM, new_epoch())])
    live, _ = App.objects.get_or_create(name=LIVE, defaults={"room_rate": ROOM_RATE})
    _complete(live, LIVE_TYPES)
    return key


def _complete(app: App, types: dict[str, DemoType]) -> None:
    known = set(Service.objects.filter(app=app).values_list("name", flat=True))
    for name in dict.fromkeys(one.service for one in types.values()):
        if name not in known:
            create_service(app=app, name=name)
    known = set(MessageType.objects.filter(app=app).values_list("name", flat=True))
    for name, one in types.items():
        if name not in known:
            set_type(app=app, name=name, delivery=one.delivery, priority=one.priority, ttl_seconds=one.ttl)


def make_admin() -> str | None:
    """A superuser `admin`; its random password if it is new. An existing one is left alone, whoever made it."""
    users = get_user_model().objects
    if users.filter(username=ADMIN).exists():
        return None
    password = secrets.token_urlsafe(12)
    users.create_superuser(username=ADMIN, email="", password=password)
    return password
