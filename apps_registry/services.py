"""What can be done to apps, services, keys and types; to devices: `devices`. The admin, the API and the commands call
these.

Every verb is one transaction. What it is told is checked: `ValidationError` names the field.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from apps_registry import credentials
from apps_registry.errors import BadKey, TooManyKeys
from apps_registry.fields import check_fields
from apps_registry.models import (
    App,
    Delivery,
    MessageType,
    OnFailure,
    Priority,
    Scope,
    Service,
    ServiceKey,
    new_signing_key,
)

ALL_SCOPES: tuple[str, ...] = (Scope.PUBLISH.value, Scope.READ.value, Scope.MANAGE.value)
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
    check_fields(app)
    app.save(update_fields=["room_rate"])
    log.info("room rate set app=%s rate=%s", app.name, room_rate)


def create_service(*, app: App, name: str) -> Service:
    return _insert(Service(app=app, name=name))


def register_service(*, app: App, name: str) -> tuple[Service, bool]:
    """The service, and whether it is new. Idempotent."""
    check_fields(Service(app=app, name=name))
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
    check_fields(MessageType(app=app, name=name, **told))
    message_type, created = MessageType.objects.update_or_create(app=app, name=name, defaults=told)
    message_type.report_to.set(services)
    return message_type, created


def check_report_to(*, app: App, services: Iterable[Service]) -> None:
    strangers = [service.name for service in services if service.app_id != app.pk]
    if strangers:
        raise ValidationError({"report_to": f"Not services of the app {app.name}: {', '.join(strangers)}."})


def _insert(row: Row) -> Row:
    check_fields(row)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        kind = row._meta.verbose_name
        raise ValidationError({"name": f"There is already one: the {kind} {row.name}."}) from error
    return row
