"""What the demo app consists of: services, message types, one room. `setup_demo` makes it, the page shows it."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from django.contrib.auth import get_user_model
from django.db import transaction

from apps_registry.models import App, Delivery, MessageType, Service
from apps_registry.services import create_app, create_service, set_type
from messaging.log import logs
from messaging.models import new_epoch

APP = "demo"
ROOM = "room:lobby"
ADMIN = "admin"

GAME, WEATHER, ROOM_HOST = "game", "weather", "room-host"
SERVICES = (GAME, WEATHER, ROOM_HOST)


class DemoType(NamedTuple):
    delivery: str
    service: str


TYPES = {
    "walk": DemoType(Delivery.EVERY.value, GAME),
    "turn": DemoType(Delivery.EVERY.value, GAME),
    "sit": DemoType(Delivery.EVERY.value, GAME),
    "weather": DemoType(Delivery.LATEST.value, WEATHER),
    "gift": DemoType(Delivery.EVERY.value, ROOM_HOST),
    "chat": DemoType(Delivery.TRANSIENT.value, ROOM_HOST),
}


@transaction.atomic
def make_app() -> str | None:
    """The demo app, whole; the text of the game service's key if the app is new. Idempotent.

    What is there stays as it is: types may have been changed in the admin.
    """
    key = None
    app = App.objects.filter(name=APP).first()
    if app is None:
        made = create_app(name=APP, types={}, service=GAME)
        app, key = made.app, made.key
    known = set(Service.objects.filter(app=app).values_list("name", flat=True))
    for name in SERVICES:
        if name not in known:
            create_service(app=app, name=name)
    known = set(MessageType.objects.filter(app=app).values_list("name", flat=True))
    for name, demo_type in TYPES.items():
        if name not in known:
            set_type(app=app, name=name, delivery=demo_type.delivery)
    logs.create([(app.pk, "room", ROOM, new_epoch())])
    return key


def make_admin() -> str | None:
    """A superuser `admin`; its random password if it is new. An existing one is left alone, whoever made it."""
    users = get_user_model().objects
    if users.filter(username=ADMIN).exists():
        return None
    password = secrets.token_urlsafe(12)
    users.create_superuser(username=ADMIN, email="", password=password)
    return password
