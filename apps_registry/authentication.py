"""Who is calling, for the HTTP API: `Authorization: Bearer` with a device's token or a service's key.

`request.auth` is the Device or the ServiceKey. Refusals are RegistryErrors; messaging/api/problems.py words them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps_registry.devices import authenticate_device
from apps_registry.errors import BadKey, BadToken, RegistryError, WrongScope
from apps_registry.models import Device, Scope, ServiceKey
from apps_registry.services import authenticate_key

Holder = TypeVar("Holder", Device, ServiceKey)


class _Bearer(BaseAuthentication):
    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class DeviceAuthentication(_Bearer):
    def authenticate(self, request: Request) -> tuple[None, Device]:
        return None, authenticate_device(_credential(request, BadToken, "Send Authorization: Bearer DEVICE_TOKEN."))


class ServiceAuthentication(_Bearer):
    def authenticate(self, request: Request) -> tuple[None, ServiceKey]:
        return None, authenticate_key(_credential(request, BadKey, "Send Authorization: Bearer SERVICE_KEY."))


def _credential(request: Request, refusal: Callable[[str], RegistryError], hint: str) -> str:
    words = get_authorization_header(request).split()
    if len(words) != 2 or words[0].lower() != b"bearer":
        raise refusal(hint)
    return words[1].decode("latin-1")


@cache
def has_scope(scope: str) -> type[BasePermission]:
    """A permission class for views of services: the key must hold this scope, else WrongScope."""
    wanted = Scope(scope).value

    class HasScope(BasePermission):
        scope = wanted

        def has_permission(self, request: Request, view: object) -> bool:
            if not isinstance(request.auth, ServiceKey):
                raise BadKey("Send Authorization: Bearer SERVICE_KEY.")
            if wanted not in request.auth.scopes:
                raise WrongScope(f"This needs a key with the scope {wanted}.")
            return True

    return HasScope


class _BearerScheme(OpenApiAuthenticationExtension):
    scheme: ClassVar[dict[str, str]] = {}

    def get_security_definition(self, auto_schema: object) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", **self.scheme}


class DeviceTokenScheme(_BearerScheme):
    target_class = "apps_registry.authentication.DeviceAuthentication"
    name = "deviceToken"
    scheme: ClassVar[dict[str, str]] = {"bearerFormat": "JWT", "description": "The token of one device."}


class ServiceKeyScheme(_BearerScheme):
    target_class = "apps_registry.authentication.ServiceAuthentication"
    name = "serviceKey"
    scheme: ClassVar[dict[str, str]] = {"description": "An API key of a service: mw_…"}
