"""The door of the HTTP API: headers in, Device or ServiceKey (or a refusal with its code) out."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from apps_registry.authentication import DeviceAuthentication, ServiceAuthentication, has_scope
from apps_registry.devices import issue_token, revoke_device
from apps_registry.errors import BadKey, BadToken, DeviceRevoked, RegistryError, TokenExpired, WrongScope
from apps_registry.models import Device, ServiceKey
from apps_registry.services import NewApp, create_key


def handle(error: Exception, context: dict[str, Any]) -> Response:
    if not isinstance(error, RegistryError):
        raise error
    return Response({"code": error.code}, status=403 if error.code == "wrong_scope" else 401)


class View(APIView):
    """Answers who came in."""

    def get_exception_handler(self) -> Any:
        return handle


class DeviceView(View):
    authentication_classes = (DeviceAuthentication,)
    permission_classes = ()

    def get(self, request: Request) -> Response:
        assert isinstance(request.auth, Device)
        return Response({"device": request.auth.name, "user": request.user})


class PublishView(View):
    authentication_classes = (ServiceAuthentication,)
    permission_classes = (has_scope("publish"),)

    def get(self, request: Request) -> Response:
        assert isinstance(request.auth, ServiceKey)
        return Response({"service": str(request.auth.service), "user": request.user})


urlpatterns = [path("api/v1/me", DeviceView.as_view()), path("api/v1/messages", PublishView.as_view())]


def answer(view: type[APIView], authorization: str | bytes | None) -> tuple[int, Any]:
    headers = {} if authorization is None else {"HTTP_AUTHORIZATION": authorization}
    response = view.as_view()(APIRequestFactory().get("/", **headers))
    return response.status_code, response.data


def test_a_device_comes_in_with_its_token(phone: Device) -> None:
    token, _ = issue_token(device=phone, life=60)

    assert answer(DeviceView, f"Bearer {token}") == (200, {"device": "phone-1", "user": None})
    assert answer(DeviceView, f"bearer  {token} ") == (200, {"device": "phone-1", "user": None})


def test_a_service_comes_in_with_its_key(game: NewApp) -> None:
    assert answer(PublishView, f"Bearer {game.key}") == (200, {"service": "game/backend", "user": None})


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwdw==", "Bearer a b", "Bearer é", b"Bearer \xff\x00", "Token x"],
)
@pytest.mark.parametrize(("view", "code"), [(DeviceView, "bad_token"), (PublishView, "bad_key")])
def test_nobody_comes_in_without_a_credential(db: None, view: type[APIView], code: str, header: str | None) -> None:
    assert answer(view, header) == (401, {"code": code})


@pytest.mark.parametrize("scheme", ["Basic", "Token", "", "Bearer:", "Bearer Bearer"])
def test_a_credential_is_taken_as_bearer_only(game: NewApp, phone: Device, scheme: str) -> None:
    token, _ = issue_token(device=phone, life=60)

    assert answer(DeviceView, f"{scheme} {token}") == (401, {"code": "bad_token"})
    assert answer(PublishView, f"{scheme} {game.key}") == (401, {"code": "bad_key"})


def test_a_key_is_no_token_and_a_token_is_no_key(game: NewApp, phone: Device) -> None:
    token, _ = issue_token(device=phone, life=60)

    assert answer(DeviceView, f"Bearer {game.key}") == (401, {"code": "bad_token"})
    assert answer(PublishView, f"Bearer {token}") == (401, {"code": "bad_key"})


def test_a_revoked_device_and_an_expired_token_are_told_apart(phone: Device) -> None:
    expired, _ = issue_token(device=phone, life=60, now=1_000_000)
    good, _ = issue_token(device=phone, life=60)

    assert answer(DeviceView, f"Bearer {expired}") == (401, {"code": "token_expired"})
    revoke_device(device=phone)
    assert answer(DeviceView, f"Bearer {good}") == (401, {"code": "device_revoked"})


def test_a_key_without_the_scope_is_refused(game: NewApp) -> None:
    _, reader = create_key(service=game.service, scopes=["read", "manage"])

    assert answer(PublishView, f"Bearer {reader}") == (403, {"code": "wrong_scope"})


def test_a_scope_that_does_not_exist_stops_the_start() -> None:
    with pytest.raises(ValueError, match="'admin' is not a valid Scope"):
        has_scope("admin")


def test_every_refusal_has_its_own_code() -> None:
    codes = {error.__name__: error.code for error in (BadToken, TokenExpired, DeviceRevoked, BadKey, WrongScope)}

    assert codes == {
        "BadToken": "bad_token",
        "TokenExpired": "token_expired",
        "DeviceRevoked": "device_revoked",
        "BadKey": "bad_key",
        "WrongScope": "wrong_scope",
    }


def test_the_challenge_is_bearer() -> None:
    request = Request(APIRequestFactory().get("/"))

    assert DeviceAuthentication().authenticate_header(request) == "Bearer"
    assert ServiceAuthentication().authenticate_header(request) == "Bearer"


def test_the_schema_describes_both_credentials() -> None:
    schema = SchemaGenerator(patterns=urlpatterns).get_schema(request=None, public=True)

    schemes = schema["components"]["securitySchemes"]
    assert {name: (scheme["type"], scheme["scheme"]) for name, scheme in schemes.items()} == {
        "deviceToken": ("http", "bearer"),
        "serviceKey": ("http", "bearer"),
    }
    assert schema["paths"]["/api/v1/me"]["get"]["security"] == [{"deviceToken": []}]
    assert schema["paths"]["/api/v1/messages"]["get"]["security"] == [{"serviceKey": []}]
