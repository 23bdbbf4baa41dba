"""Keys as a service manages them for its app: it gives no more than it has, and never locks everybody out."""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from apps_registry import services
from apps_registry.errors import LastKey, UnknownKey, WrongScope
from apps_registry.models import App, Scope, Service, ServiceKey


def give(*, by: ServiceKey, service: Service, scopes: Collection[str]) -> tuple[ServiceKey, str]:
    """A new key and its text. Raises WrongScope for a scope the giver does not have, TooManyKeys, ValidationError.

    Else a key that may only manage could make itself one that reads and publishes.
    """
    beyond = [scope for scope in scopes if scope in services.ALL_SCOPES and scope not in by.scopes]
    if beyond:
        raise WrongScope(f"A key gives only scopes that it has: not {', '.join(beyond)}.")
    return services.create_key(service=service, scopes=scopes)


def rotate(*, by: ServiceKey, key: ServiceKey) -> tuple[ServiceKey, str]:
    """A new key of the same service and scopes, and its text. The old one stays good until it is revoked.

    Raises UnknownKey for one that is revoked, and as `give`.
    """
    if key.revoked_at is not None:
        raise UnknownKey("The key has been revoked: make a new one.")
    return give(by=by, service=key.service, scopes=key.scopes)


@transaction.atomic
def retire(*, key: ServiceKey) -> None:
    """The key opens nothing from now on. Idempotent. Raises LastKey for the app's last one that may manage.

    An operator may revoke that one too (`services.revoke_key`): a key that got out must go at any price.
    """
    app_id = key.service.app_id
    # Locked: two that retire each other must not both find the other one left.
    App.objects.select_for_update(no_key=True).get(pk=app_id)
    active = ServiceKey.objects.filter(service__app=app_id, revoked_at=None)
    managing = [pk for pk, scopes in active.values_list("pk", "scopes") if Scope.MANAGE in scopes]
    if managing == [key.pk]:
        raise LastKey("Make another key with the scope manage first: without one, only the admin can.")
    services.revoke_key(key=key)
