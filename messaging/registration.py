"""Devices and their streams together: registered, they are in `device:NAME`, their user's stream and their rooms."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from django.conf import settings
from django.db import transaction

from apps_registry.devices import issue_token, register_device
from apps_registry.models import App, Device
from messaging.live import node
from messaging.log import membership
from messaging.log.effects import Effects, Left
from messaging.protocol.errors import ProtocolError
from messaging.protocol.names import stream_kind


class Registered(NamedTuple):
    device: Device
    token: str
    expires_at: dt.datetime
    streams: list[str]
    created: bool


@transaction.atomic
def register(
    *,
    app: App,
    device: str,
    user: str = "",
    platform: str = "",
    streams: Sequence[str] = (),
    rooms: list[str] | None = None,
    history: membership.History | None = None,
) -> Registered:
    """A device with a fresh token, in its own stream, its user's and the rooms named. The same again keeps the cursors.

    streams: rooms it is put into now; it may join these and what `rooms` names (patterns). history: what it gets of
    their past, where it is new in them. Raises ValidationError,
    `invalid` for a stream that is not a room.
    """
    for stream in streams:
        if stream_kind(stream) != "room":
            raise ProtocolError(
                "invalid", "A device is put into rooms; its own and its user's stream come by themselves."
            )
    before = Device.objects.filter(app=app, name=device).first()
    known = before.rooms if before else []
    allowed = list(dict.fromkeys([*(known if rooms is None else rooms), *streams]))
    row, created = register_device(app=app, name=device, user=user, platform=platform, rooms=allowed)
    wanted = [f"device:{row.name}", *([f"user:{row.user}"] if row.user else []), *streams]
    left = []
    if before and before.user and before.user != row.user:
        left = [Left(row.pk, f"user:{before.user}")]
        membership.unsubscribe([(one.device_id, one.stream) for one in left])
    membership.subscribe([(app.pk, row.pk, stream) for stream in wanted], history)
    token, expires_at = issue_token(device=row, life=settings.MEANWHILE_TOKEN_LIFE)
    names = sorted(row.subscriptions.values_list("stream__name", flat=True))
    transaction.on_commit(lambda: node.announce(Effects(devices=[row.pk], left=left)))
    return Registered(row, token, expires_at, names, created)
