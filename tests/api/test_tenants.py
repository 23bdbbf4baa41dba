"""P9: every address × whoever has no business there. A new URL without a case here fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.http import HttpResponse
from django.urls import URLPattern

from apps_registry.models import Device
from messaging.api.urls import urlpatterns
from messaging.models import Stream
from tests.api.callers import Caller, device_caller, problem, service_caller
from tests.conftest import World
from tests.zoo import Zoo, everything, leaks

PREFIX = "api/v1/"


class Case(NamedTuple):
    """One method at one address. named: what of another app it would reach; that must seem not to exist."""

    method: str
    path: str
    by: str  # "device" or the scope a service needs
    body: Any = None
    named: str = ""


DRAFTS = {"messages": [{"to": "room:den", "name": "turn", "data": 1}]}

#: By the route as it stands in the URL conf.
CASES: dict[str, list[Case]] = {
    "pending": [Case("GET", "pending", "device")],
    "results": [
        Case("POST", "results", "device", {"stream": "room:den", "upto": 1}),
        Case("GET", "results", "read"),
    ],
    "acks": [Case("POST", "acks", "device", {"acks": [], "latest": []})],
    "notices": [Case("POST", "notices", "device", {"state": "background", "state_seq": 1})],
    "me": [Case("GET", "me", "device")],
    "me/streams/<str:stream>": [
        Case("PUT", "me/streams/room:den", "device"),
        Case("DELETE", "me/streams/room:den", "device"),
    ],
    "messages": [Case("POST", "messages", "publish", DRAFTS)],
    "messages/<str:stream>/<int:offset>": [Case("GET", "messages/room:den/1", "read", named="unknown_stream")],
    "devices": [Case("GET", "devices", "read"), Case("POST", "devices", "manage", {"device": "newcomer"})],
    "devices/<str:device>": [Case("GET", "devices/cub", "read", named="unknown_device")],
    "devices/<str:device>/token": [Case("POST", "devices/cub/token", "manage", named="unknown_device")],
    "devices/<str:device>/revoke": [Case("POST", "devices/cub/revoke", "manage", named="unknown_device")],
    "streams": [Case("GET", "streams", "read")],
    "streams/<str:stream>": [
        Case("GET", "streams/room:den", "read", named="unknown_stream"),
        Case("PUT", "streams/room:den", "manage", {"history": {"last": 5}}),
    ],
    "streams/<str:stream>/members/<str:device>": [
        Case("PUT", "streams/room:den/members/cub", "manage", named="unknown_device"),
        Case("DELETE", "streams/room:den/members/cub", "manage", named="unknown_stream"),
    ],
    "streams/<str:stream>/purge": [
        Case("POST", "streams/room:den/purge", "manage", {"upto": 1}, named="unknown_stream")
    ],
    "streams/<str:stream>/close": [Case("POST", "streams/room:den/close", "manage", named="unknown_stream")],
    "types": [
        Case("GET", "types", "read"),
        Case("POST", "types", "manage", {"name": "roar", "delivery": "every"}),
    ],
    "types/<str:name>": [
        Case("GET", "types/growl", "read", named="unknown_name"),
        Case("PATCH", "types/growl", "manage", {"ttl": 5}, named="unknown_name"),
    ],
    "app": [Case("GET", "app", "read"), Case("PATCH", "app", "manage", {"room_rate": 5})],
    "services": [Case("GET", "services", "read"), Case("POST", "services", "manage", {"service": "newcomer"})],
    "keys": [Case("GET", "keys", "manage"), Case("POST", "keys", "manage", {"scopes": ["manage"]})],
    "keys/<str:prefix>": [Case("DELETE", "keys/denkey", "manage", named="unknown_key")],
    "keys/<str:prefix>/rotate": [Case("POST", "keys/denkey/rotate", "manage", named="unknown_key")],
    "webhooks": [
        Case("GET", "webhooks", "manage"),
        Case("POST", "webhooks", "manage", {"url": "https://shop.example.com/", "events": ["results"]}),
    ],
    "webhooks/<str:webhook>": [
        Case("GET", "webhooks/wh_den", "manage", named="unknown_webhook"),
        Case("PATCH", "webhooks/wh_den", "manage", {"disabled": True}, named="unknown_webhook"),
        Case("DELETE", "webhooks/wh_den", "manage", named="unknown_webhook"),
    ],
    "webhooks/<str:webhook>/secret": [Case("POST", "webhooks/wh_den/secret", "manage", named="unknown_webhook")],
    "webhooks/<str:webhook>/test": [Case("POST", "webhooks/wh_den/test", "manage", named="unknown_webhook")],
    "webhooks/<str:webhook>/deliveries": [Case("GET", "webhooks/wh_den/deliveries", "manage", named="unknown_webhook")],
    "webhooks/<str:webhook>/deliveries/<str:delivery>/retry": [
        Case("POST", "webhooks/wh_den/deliveries/msg_den/retry", "manage", named="unknown_webhook")
    ],
}
ALL = [case for cases in CASES.values() for case in cases]
NAMED = [case for case in ALL if case.named]
SCOPES = ("publish", "read", "manage")


def title(case: Case) -> str:
    return f"{case.method} {case.path}"


def routes() -> Iterator[tuple[str, URLPattern]]:
    for pattern in urlpatterns:
        route = str(pattern.pattern)
        if route.startswith(PREFIX):
            yield route.removeprefix(PREFIX), pattern


def call(caller: Caller, case: Case) -> HttpResponse:
    return caller.call(case.method, f"/api/v1/{case.path}", case.body)


def test_every_address_and_method_has_a_case() -> None:
    for route, pattern in routes():
        view = pattern.callback.view_class  # type: ignore[attr-defined]
        methods = {name.upper() for name in ("get", "post", "put", "patch", "delete") if hasattr(view, name)}
        assert methods == {case.method for case in CASES.get(route, [])}, f"say in CASES who may use {route}"


@pytest.mark.parametrize("case", ALL, ids=title)
@pytest.mark.usefixtures("idle_node")
def test_without_a_credential_nobody_comes_in(case: Case) -> None:
    refusal = "bad_token" if case.by == "device" else "bad_key"

    for caller in (Caller(), Caller("nonsense"), Caller("mw_0123456789ab_" + "x" * 43), Caller("a.b.c")):
        answer = call(caller, case)

        assert problem(answer) == (401, refusal)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("case", ALL, ids=title)
@pytest.mark.usefixtures("idle_node")
def test_the_other_kind_of_credential_opens_nothing(case: Case, world: World, phone: Device) -> None:
    caller = service_caller(world.game) if case.by == "device" else device_caller(phone)

    assert problem(call(caller, case))[0] == 401


@pytest.mark.parametrize("case", [case for case in ALL if case.by != "device"], ids=title)
@pytest.mark.usefixtures("idle_node")
def test_a_key_without_the_scope_is_refused(case: Case, world: World) -> None:
    others = [scope for scope in SCOPES if scope != case.by]

    assert problem(call(service_caller(world.game, *others), case)) == (403, "wrong_scope")


@pytest.mark.parametrize("case", NAMED, ids=title)
@pytest.mark.usefixtures("idle_node")
def test_what_is_another_apps_seems_not_to_exist(case: Case, world: World, zoo: Zoo, den: Stream) -> None:
    """The same answer, to the letter, as for what is nobody's."""
    caller = service_caller(world.game)
    nobodys = case._replace(path=case.path.replace("den", "nil").replace("cub", "nil").replace("growl", "nil"))
    before = everything()

    foreign, missing = call(caller, case), call(caller, nobodys)

    assert problem(foreign) == (404, case.named)
    assert foreign.content == missing.content
    assert everything() == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("case", [case for case in ALL if not case.named], ids=title)
def test_nothing_of_another_app_is_seen_or_changed(
    case: Case, world: World, phone: Device, zoo: Zoo, den: Stream
) -> None:
    caller = device_caller(phone) if case.by == "device" else service_caller(world.game)
    before = everything(zoo.app)

    answer = call(caller, case)

    said = answer.content.replace(b"room:den", b"") if case.body else answer.content  # the caller's own word
    assert leaks(said) == []
    assert everything(zoo.app) == before


@pytest.mark.usefixtures("idle_node")
def test_a_revoked_device_is_kept_out_of_everything(phone: Device, phone_api: Caller) -> None:
    Device.objects.filter(pk=phone.pk).update(revoked_at=phone.created_at)

    for case in (case for case in ALL if case.by == "device"):
        assert problem(call(phone_api, case)) == (403, "device_revoked")
