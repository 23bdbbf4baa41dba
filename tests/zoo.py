"""Another app than the world's, for the tenant matrices: its room `den`, its device `cub`, its type `growl`, its
service `keeper` and its user `bear` are named nowhere else, so that a word of them in an answer is a leak (P9).
"""

from __future__ import annotations

import re
from collections import deque
from functools import cache
from typing import Any, NamedTuple

from django.apps import apps
from django.db import transaction
from django.db.models import ForeignKey, Model

from apps_registry.models import App, Device, MessageType, Service, ServiceKey, Webhook
from messaging.log import membership
from messaging.models import Feed, Message, Result, Stream, WebhookDelivery

#: None of these may be said to anybody of another app.
WORDS = ("den", "cub", "bear", "zoo", "keeper", "growl", "secret of")
#: Secrets and tokens: chance may write anything.
_RANDOM = re.compile(r'"(whsec_|mw_|eyJ)[^"]+"')
#: Written when a key is used, whoever is looked for with it.
NOT_COMPARED = {"last_used_at"}


class Zoo(NamedTuple):
    app: App
    cub: Device
    keeper: Service


def opened() -> Zoo:
    app = App.objects.create(name="zoo")
    for name in ("turn", "growl"):
        MessageType.objects.create(app=app, name=name, delivery="every")
    keeper = Service.objects.create(app=app, name="keeper")
    cub = Device.objects.create(app=app, name="cub", user="bear", rooms=["room:den"])
    with transaction.atomic():
        membership.subscribe([(app.pk, cub.pk, stream) for stream in ("device:cub", "user:bear", "room:den")])
    return Zoo(app, cub, keeper)


def lived_in(zoo: Zoo) -> Stream:
    """The zoo's room, with a message and its result, a webhook with a dead letter, and a key."""
    stream = Stream.objects.get(app=zoo.app, name="room:den")
    Stream.objects.filter(pk=stream.pk).update(head=1)
    type = MessageType.objects.get(app=zoo.app, name="turn")
    at = stream.created_at
    Message.objects.create(
        stream=stream,
        offset=1,
        type=type,
        service=zoo.keeper,
        published_at=at,
        expires_at=at.replace(year=at.year + 1),
        payload='"secret of the den"',
    )
    Feed.objects.create(service=zoo.keeper, head=1)
    Result.objects.create(
        service=zoo.keeper,
        position=1,
        device=zoo.cub,
        stream=stream,
        from_offset=1,
        upto=1,
        status="failed",
        detail="secret of the cub",
        reported_at=at,
    )
    ServiceKey.objects.create(service=zoo.keeper, prefix="denkey", digest="-", scopes=["manage"])
    hook = Webhook.objects.create(service=zoo.keeper, public_id="wh_den", url="https://den.example.com/", results=True)
    WebhookDelivery.objects.create(
        webhook=hook, message_id="msg_den", event="results", created_at=at, next_attempt_at=at, failed_at=at, body="{}"
    )
    return stream


def leaks(said: bytes | str) -> list[str]:
    """The zoo's words in what somebody else was told."""
    text = _RANDOM.sub("", said.decode() if isinstance(said, bytes) else said)
    return [word for word in WORDS if word in text]


def everything(app: App | None = None) -> dict[str, list[Any]]:
    """All rows of both Django apps; with an app, all that hang on it. By table."""
    found: dict[str, list[Any]] = {}
    for model in [*apps.get_app_config("apps_registry").get_models(), *apps.get_app_config("messaging").get_models()]:
        path = _way_to_app(model)
        if model._meta.proxy or (app is not None and path is None):
            continue
        rows = model._default_manager.order_by("pk")
        columns = [field.attname for field in model._meta.concrete_fields if field.name not in NOT_COMPARED]
        found[model._meta.label] = list((rows.filter(**{path: app.pk}) if app and path else rows).values(*columns))
    return found


@cache
def _way_to_app(model: type[Model]) -> str | None:
    """The shortest look-up from a table to its app's id: "stream__app"; None for tables of no app."""
    if model is App:
        return "pk"
    ways = deque([(model, "")])
    visited = {model}
    while ways:
        table, way = ways.popleft()
        for field in table._meta.concrete_fields:
            if not isinstance(field, ForeignKey) or field.related_model in visited:
                continue
            if field.related_model is App:
                return f"{way}{field.name}"
            visited.add(field.related_model)
            ways.append((field.related_model, f"{way}{field.name}__"))
    return None
