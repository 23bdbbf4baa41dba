"""Devices of apps and their tokens: registered, let in, kept out. As in `services`, every verb is one transaction."""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
from collections.abc import Sequence, Set
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from apps_registry import tokens
from apps_registry.errors import BadToken, DeviceRevoked, RegistryError
from apps_registry.fields import check_fields
from apps_registry.models import App, Device
from apps_registry.names import is_room_pattern

MOST_ROOMS = 1000

log = logging.getLogger(__name__)


class OpenedToken(NamedTuple):
    device: Device
    claims: tokens.Claims


@transaction.atomic
def register_device(
    *, app: App, name: str, user: str = "", platform: str = "", rooms: list[str] | None = None
) -> tuple[Device, bool]:
    """The device, active, and whether it is new. Idempotent: the same again changes nothing and voids nothing.

    `user` is taken as told ("" = nobody is signed in); `rooms` None and `platform` "" leave what was known.
    Tokens issued before are void if the device was revoked, or belonged to another user.
    """
    told = {"user": user, "platform": platform, "rooms": [] if rooms is None else check_rooms(rooms)}
    if not platform.isprintable():
        raise ValidationError({"platform": "Printable characters only."})
    check_fields(Device(app=app, name=name, **told))
    device, created = Device.objects.select_for_update(no_key=True).get_or_create(app=app, name=name, defaults=told)
    device.app = app
    if not created:
        _register_again(device, user=user, platform=platform or device.platform, rooms=rooms)
    return device, created


def _register_again(device: Device, *, user: str, platform: str, rooms: list[str] | None) -> None:
    """The row is locked."""
    kept_rooms = device.rooms if rooms is None else rooms
    tokens_void = device.revoked_at is not None or device.user != user
    if not tokens_void and (device.platform, device.rooms) == (platform, kept_rooms):
        return
    device.user, device.platform, device.rooms = user, platform, kept_rooms
    device.revoked_at = None
    device.token_version += tokens_void
    device.save(update_fields=["user", "platform", "rooms", "revoked_at", "token_version"])


def check_rooms(rooms: object) -> list[str]:
    """The same, if it is a list and each is `room:NAME`, `room:PREFIX*` or `room:*`."""
    if not isinstance(rooms, list):
        raise ValidationError({"rooms": "Say a list of rooms."})
    wrong = [room for room in rooms if not (isinstance(room, str) and is_room_pattern(room))]
    if wrong:
        raise ValidationError({"rooms": f"{wrong[0]!r} is not a room: say room:NAME or room:PREFIX*."})
    if len(rooms) > MOST_ROOMS:
        raise ValidationError({"rooms": f"At most {MOST_ROOMS}; a pattern like room:live-* stands for many."})
    return rooms


def issue_token(*, device: Device, life: int, now: int | None = None) -> tuple[str, dt.datetime]:
    """A token good for `life` seconds, and when it ends (UTC). Raises DeviceRevoked. No query if the app is loaded."""
    if device.revoked_at is not None:
        raise DeviceRevoked("The device has been revoked.")
    issued_at = _seconds(now)
    token = tokens.issue(
        app_name=device.app.name,
        device_name=device.name,
        signing_key=device.app.signing_key,
        version=device.token_version,
        now=issued_at,
        life=life,
    )
    return token, dt.datetime.fromtimestamp(issued_at + life, dt.UTC)


def revoke_device(*, device: Device) -> bool:
    """The device is kept out and its tokens are void, until it is registered again. False if somebody was first."""
    active = Device.objects.filter(pk=device.pk, revoked_at=None)
    if not active.update(revoked_at=Now(), token_version=F("token_version") + 1):
        return False
    device.refresh_from_db(fields=["revoked_at", "token_version"])
    log.info("device revoked app=%s device=%s", device.app.name, device.name)
    return True


def renew_tokens(*, device: Device) -> None:
    """Tokens issued so far are void; the device stays registered and needs a new one."""
    Device.objects.filter(pk=device.pk).update(token_version=F("token_version") + 1)
    device.refresh_from_db(fields=["token_version"])


def authenticate_device(token: str, *, now: int | None = None) -> Device:
    """The device, with its app, that holds this token. One query. Raises BadToken, TokenExpired, DeviceRevoked."""
    return open_token(token, now=now).device


def open_token(token: str, *, now: int | None = None) -> OpenedToken:
    """As `authenticate_device`, with the claims: a socket must end when `claims.expires_at` (+ leeway) is over."""
    (opened,) = open_tokens([token], now=now)
    if isinstance(opened, RegistryError):
        raise opened
    return opened


def open_tokens(tokens_: Sequence[str], *, now: int | None = None) -> list[OpenedToken | RegistryError]:
    """Many tokens with one query, each opened or refused: when everybody comes back at once."""
    named: list[tuple[str, str] | RegistryError] = []
    for token in tokens_:
        try:
            named.append(tokens.read_unverified(token))
        except RegistryError as error:
            named.append(error)
    devices = _named_devices({names for names in named if not isinstance(names, RegistryError)})
    moment = _seconds(now)
    return [
        names if isinstance(names, RegistryError) else _opened(token, devices.get(names), moment)
        for token, names in zip(tokens_, named, strict=True)
    ]


_LOOKED_UP = ("id", "app_id", "name", "user", "platform", "rooms", "token_version", "revoked_at")
_LOOK_UP = (
    f"SELECT {', '.join(f'd.{column}' for column in _LOOKED_UP)}, a.name, a.signing_key"
    " FROM apps_registry_device d JOIN apps_registry_app a ON a.id = d.app_id WHERE "
)


def _named_devices(wanted: Set[tuple[str, str]]) -> dict[tuple[str, str], Device]:
    """By (app, device). Written out: compiling this query took most of the time of a request."""
    if not wanted:
        return {}
    names = [name for pair in wanted for name in pair]
    with connection.cursor() as cursor:
        cursor.execute(_LOOK_UP + " OR ".join(["(a.name = %s AND d.name = %s)"] * len(wanted)), names)
        rows = cursor.fetchall()
    devices = {}
    for *values, app_name, signing_key in rows:
        values[5] = json.loads(values[5]) if isinstance(values[5], str) else values[5]
        device = Device.from_db(connection.alias, _LOOKED_UP, values)
        device.app = App.from_db(connection.alias, ("id", "name", "signing_key"), (values[1], app_name, signing_key))
        devices[app_name, device.name] = device
    return devices


def _opened(token: str, device: Device | None, now: int) -> OpenedToken | RegistryError:
    if device is None:
        return BadToken("This is not a device token, or not one of this server.")
    try:
        claims = tokens.verify(token, signing_key=device.app.signing_key, now=now)
    except RegistryError as error:
        return error
    if device.revoked_at is not None:
        return DeviceRevoked("The device has been revoked.")
    if claims.version != device.token_version:
        return BadToken("The device token has been made void; the device needs a new one.")
    return OpenedToken(device, claims)


def _seconds(now: int | None) -> int:
    return int(time.time()) if now is None else now
