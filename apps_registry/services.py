"""What can be done to apps, services, keys, devices and types. The admin, the API and the commands all call these.

Every verb is one transaction. What it is told is checked: `ValidationError` names the field.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import reprlib
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple, TypeVar

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from apps_registry import credentials, tokens
from apps_registry.errors import BadKey, BadToken, DeviceRevoked, RegistryError, TooManyKeys
from apps_registry.models import (
    App,
    Delivery,
    Device,
    MessageType,
    OnFailure,
    Priority,
    Scope,
    Service,
    ServiceKey,
    new_signing_key,
)
from apps_registry.names import is_room_pattern
from apps_registry.names import room_allowed as room_allowed

ALL_SCOPES: tuple[str, ...] = (Scope.PUBLISH.value, Scope.READ.value, Scope.MANAGE.value)
MOST_ROOMS = 1000
#: Active keys of a service: as many as a replacement on several servers needs, few enough to know them all.
MOST_KEYS = 10
#: `last_used_at` is written at most so often: a busy key costs a read a request, not a write.
LAST_USED_EVERY = dt.timedelta(minutes=1)

log = logging.getLogger(__name__)
Row = TypeVar("Row", App, Service)


class NewApp(NamedTuple):
    app: App
    service: Service
    #: The text of the service's key with all scopes. It is stored nowhere.
    key: str


class OpenedToken(NamedTuple):
    device: Device
    claims: tokens.Claims


# --- Apps, services and their keys ----------------------------------------------------------------------------------


@transaction.atomic
def create_app(*, name: str, types: Mapping[str, str], service: str = "backend") -> NewApp:
    """A new app with its message types ({name: delivery}) and one service that holds a key of all scopes."""
    app = _insert(App(name=name))
    for type_name, delivery in types.items():
        set_type(app=app, name=type_name, delivery=delivery)
    backend = create_service(app=app, name=service)
    _, key = create_key(service=backend, scopes=ALL_SCOPES)
    return NewApp(app, backend, key)


@transaction.atomic
def rotate_signing_key(*, app: App) -> None:
    """Every device token of the app is void at once; the devices need new ones. For when a database dump got out."""
    app.signing_key = new_signing_key()
    app.save(update_fields=["signing_key"])
    log.warning("signing key rotated app=%s", app.name)


def set_room_rate(*, app: App, room_rate: int | None) -> None:
    """Messages a second that each of the app's rooms takes; None: unbounded. From the next publish on."""
    app.room_rate = room_rate
    _check_fields(app)
    app.save(update_fields=["room_rate"])
    log.info("room rate set app=%s rate=%s", app.name, room_rate)


def create_service(*, app: App, name: str) -> Service:
    return _insert(Service(app=app, name=name))


def register_service(*, app: App, name: str) -> tuple[Service, bool]:
    """The service, and whether it is new. Idempotent."""
    _check_fields(Service(app=app, name=name))
    return Service.objects.get_or_create(app=app, name=name)


@transaction.atomic
def create_key(*, service: Service, scopes: Iterable[str]) -> tuple[ServiceKey, str]:
    """A new key and its text, which can never be shown again. Older keys go on working. Raises TooManyKeys."""
    asked = set(scopes)
    if not asked or not asked <= set(ALL_SCOPES):
        raise ValidationError({"scopes": f"Say one or more of {', '.join(ALL_SCOPES)}."})
    # Locked: two at once must not both be the last that may be.
    Service.objects.select_for_update(no_key=True).get(pk=service.pk)
    if ServiceKey.objects.filter(service=service, revoked_at=None).count() >= MOST_KEYS:
        raise TooManyKeys(f"A service has at most {MOST_KEYS} keys that are not revoked.")
    new = credentials.make()
    ordered = [scope for scope in ALL_SCOPES if scope in asked]
    key = ServiceKey.objects.create(service=service, prefix=new.prefix, digest=new.digest, scopes=ordered)
    log.info("key created service=%s prefix=%s scopes=%s", service, new.prefix, ",".join(ordered))
    return key, new.text


def revoke_key(*, key: ServiceKey) -> bool:
    """The key opens nothing from now on. False if somebody was first."""
    if not ServiceKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=Now()):
        return False
    key.refresh_from_db(fields=["revoked_at"])
    log.info("key revoked prefix=%s", key.prefix)
    return True


def authenticate_key(text: str, *, now: dt.datetime | None = None) -> ServiceKey:
    """The key with its service and app: one query, and a write once a minute. Raises BadKey."""
    parts = credentials.parse(text)
    if parts is None:
        raise BadKey("This is not a service key.")
    prefix, secret = parts
    key = ServiceKey.objects.select_related("service__app").filter(prefix=prefix, revoked_at=None).first()
    if key is None or not credentials.matches(secret, key.digest):
        raise BadKey("There is no such service key, or it has been revoked.")
    _note_use(key, now or timezone.now())
    return key


def _note_use(key: ServiceKey, now: dt.datetime) -> None:
    due = now - LAST_USED_EVERY
    if key.last_used_at is not None and key.last_used_at > due:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lte=due)
    ServiceKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
    key.last_used_at = now


# --- Message types --------------------------------------------------------------------------------------------------


@transaction.atomic
def set_type(
    *,
    app: App,
    name: str,
    delivery: str,
    priority: str = Priority.NORMAL,
    ttl_seconds: int | None = None,
    result_required: bool = True,
    on_failure: str = OnFailure.CONTINUE,
    report_to: Iterable[Service] = (),
) -> tuple[MessageType, bool]:
    """The type as told, and whether it is new. What is not told is set to its default. Idempotent.

    What is published afterwards follows it; stored messages keep the class they were stored with.
    """
    services = list(report_to)
    check_report_to(app=app, services=services)
    if delivery not in Delivery.values:
        raise ValidationError({"delivery": f"{delivery!r} is no delivery. Say {', '.join(Delivery.values)}."})
    if priority not in Priority.values:
        raise ValidationError({"priority": f"{priority!r} is unknown. Say {', '.join(Priority.values)}."})
    if on_failure not in OnFailure.values:
        raise ValidationError({"on_failure": f"{on_failure!r} is unknown. Say {', '.join(OnFailure.values)}."})
    told = {
        "delivery": str(delivery),
        "priority": str(priority),
        "ttl_seconds": ttl_seconds,
        "result_required": result_required,
        "on_failure": str(on_failure),
    }
    _check_fields(MessageType(app=app, name=name, **told))
    message_type, created = MessageType.objects.update_or_create(app=app, name=name, defaults=told)
    message_type.report_to.set(services)
    return message_type, created


def check_report_to(*, app: App, services: Iterable[Service]) -> None:
    strangers = [service.name for service in services if service.app_id != app.pk]
    if strangers:
        raise ValidationError({"report_to": f"Not services of the app {app.name}: {', '.join(strangers)}."})


# --- Devices and their tokens ---------------------------------------------------------------------------------------


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
    _check_fields(Device(app=app, name=name, **told))
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


# --- Shared ---------------------------------------------------------------------------------------------------------


def _seconds(now: int | None) -> int:
    return int(time.time()) if now is None else now


def _check_fields(row: models.Model) -> None:
    """Validates without a query (clean_fields would look the app up), and says which value was wrong."""
    try:
        row.clean_fields(exclude={"app"})
    except ValidationError as error:
        told = {field: reprlib.repr(getattr(row, field)) for field in error.message_dict}
        raise ValidationError(
            {field: [f"{told[field]}: {words}" for words in lines] for field, lines in error.message_dict.items()}
        ) from error


def _insert(row: Row) -> Row:
    _check_fields(row)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        kind = row._meta.verbose_name
        raise ValidationError({"name": f"There is already one: the {kind} {row.name}."}) from error
    return row
