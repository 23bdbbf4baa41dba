"""Refusals: every one is a problem of RFC 9457, whatever went wrong."""

from __future__ import annotations

import itertools
import json
import logging
import re
from typing import Any

import pytest
from django.core.exceptions import (
    DisallowedHost,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.db import IntegrityError, OperationalError
from django.http import Http404, HttpResponse
from django.test import Client
from rest_framework import exceptions

from apps_registry.errors import BadKey, DeviceRevoked, TokenExpired
from apps_registry.models import Device
from config.http import OneHopHandler
from messaging.api import problems
from messaging.api.urls import urlpatterns
from messaging.log import pending
from messaging.protocol.codes import CODES
from messaging.protocol.errors import ProtocolError
from tests.api.callers import Caller, device_caller, problem, service_caller
from tests.api.test_tenants import ALL, Case, title
from tests.conftest import World


def said(exc: Exception) -> HttpResponse:
    return problems.handle(exc, {"view": None})


def code(exc: Exception) -> tuple[int, str]:
    return problem_of(said(exc))


def problem_of(answer: HttpResponse) -> tuple[int, str]:
    body = json.loads(answer.content)
    assert (answer["Content-Type"], body["status"]) == ("application/problem+json", answer.status_code)
    return answer.status_code, body["code"]


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (ProtocolError("position_gone"), (410, "position_gone")),
        (BadKey("no"), (401, "bad_key")),
        (TokenExpired("no"), (401, "token_expired")),
        (DeviceRevoked("no"), (403, "device_revoked")),
        (exceptions.NotFound(), (404, "not_found")),
        (exceptions.MethodNotAllowed("PUT"), (405, "method_not_allowed")),
        (exceptions.NotAcceptable(), (406, "not_acceptable")),
        (exceptions.UnsupportedMediaType("text/plain"), (415, "unsupported_media_type")),
        (exceptions.Throttled(), (429, "rate_limited")),
        (exceptions.ParseError(), (400, "bad_json")),
        (exceptions.ValidationError({"a": ["no"]}), (400, "invalid")),
        (exceptions.PermissionDenied(), (403, "not_allowed")),
        (exceptions.NotAuthenticated(), (401, "bad_key")),
        (exceptions.APIException(), (500, "internal")),
        (ValidationError({"a": "no"}), (400, "invalid")),
        (ValidationError("no"), (400, "invalid")),
        (Http404(), (404, "not_found")),
        (PermissionDenied(), (403, "not_allowed")),
        (RequestDataTooBig(), (413, "too_large")),
        (DisallowedHost(), (400, "bad_host")),
        (SuspiciousOperation(), (400, "invalid")),
        (OperationalError("gone"), (503, "unavailable")),
        (IntegrityError("twice"), (503, "unavailable")),
        (KeyError("x"), (500, "internal")),
        (RecursionError(), (500, "internal")),
    ],
)
def test_each_exception_has_its_code(exc: Exception, expected: tuple[int, str]) -> None:
    assert code(exc) == expected


@pytest.mark.parametrize("name", CODES)
def test_each_code_makes_a_whole_problem(name: str) -> None:
    answer = said(ProtocolError(name, "because", stream="room:x"))

    body = json.loads(answer.content)
    assert body == {
        "type": f"urn:meanwhile:error:{name}",
        "title": CODES[name].title,
        "status": CODES[name].status,
        "detail": "because",
        "code": name,
        "temporary": CODES[name].temporary,
        "stream": "room:x",
    }
    assert ("Retry-After" in answer) == (CODES[name].status in (429, 503))
    assert ("WWW-Authenticate" in answer) == (CODES[name].status == 401)


@pytest.mark.parametrize(
    ("exc", "errors"),
    [
        (ValidationError({"name": ["short", "ugly"]}), {"name": ["short", "ugly"]}),
        (exceptions.ValidationError({"a": {"0": ["bad"]}}), {"a": {"0": ["bad"]}}),
        (exceptions.ValidationError({"a": [{"b": ["bad"]}]}), {"a": [{"b": ["bad"]}]}),
        (exceptions.ValidationError(["bad"]), {"": ["bad"]}),
        (ValidationError("bad"), {"": ["bad"]}),
    ],
)
def test_what_was_wrong_stands_by_member(exc: Exception, errors: Any) -> None:
    assert json.loads(said(exc).content)["errors"] == errors


def test_the_unforeseen_is_logged_without_what_was_sent(
    idle_node: object,
    phone: Device,
    phone_api: Caller,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    payload = "the payload of somebody"

    def broken(**_: Any) -> None:
        raise KeyError(payload)

    monkeypatch.setattr(pending, "page", broken)

    with caplog.at_level(logging.ERROR, "meanwhile.api"):
        answer = phone_api.get("/api/v1/pending")

    assert problem(answer) == (500, "internal")
    logged = [record.getMessage() for record in caplog.records if record.name == "meanwhile.api"]
    assert len(logged) == 1
    assert logged[0].startswith("KeyError in Pending\n")
    assert payload not in logged[0]
    assert b"KeyError" not in answer.content


def test_a_database_that_does_not_answer_is_told_as_such(
    idle_node: object, phone: Device, phone_api: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> None:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(pending, "page", broken)

    answer = phone_api.get("/api/v1/pending")

    assert problem(answer) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"


def test_a_method_that_is_not_there_says_which_are(idle_node: object, phone_api: Caller) -> None:
    answer = phone_api.delete("/api/v1/pending")

    assert problem(answer) == (405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


def test_only_json_is_spoken(idle_node: object, phone_api: Caller) -> None:
    answer = Client().get("/api/v1/me", headers={**phone_api.headers, "Accept": "text/html"})

    assert problem(answer) == (406, "not_acceptable")


@pytest.mark.django_db(transaction=True)
def test_a_body_sent_in_chunks_is_read(node: object, world: World) -> None:
    """Such a request names no length; it must not be taken for an empty one."""
    key = service_caller(world.game).headers["Authorization"].encode()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/types",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"authorization", key), (b"content-type", b"application/json")],
    }

    answer = OneHopHandler()._respond(scope, b'{"name": "order", "delivery": "every"}')

    assert (answer.status, json.loads(answer.content)["name"]) == (201, "order")


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/nothing", "/api/v1/pending/", "/api/v1/messages/room:x/-1"])
@pytest.mark.django_db
def test_an_address_that_is_not_there_is_a_problem_below_api(path: str) -> None:
    assert problem(Client().get(path)) == (404, "not_found")


@pytest.mark.parametrize("path", ["/api/v1/me", "/api/nothing", "/healthz", "/ws/device"])
@pytest.mark.django_db
def test_a_host_name_that_is_not_the_servers_is_a_problem(path: str) -> None:
    answer = Client().get(path, headers={"Host": "evil.example.com"})

    assert problem(answer) == (400, "bad_host")
    assert b"evil" not in answer.content


@pytest.mark.django_db
def test_people_get_a_page_about_it() -> None:
    answer = Client().get("/admin/", headers={"Host": "evil.example.com"})

    assert (answer.status_code, answer["Content-Type"]) == (400, "text/html; charset=utf-8")


def test_an_address_that_is_not_utf_8_is_a_problem() -> None:
    scope = {"type": "http", "method": "GET", "path": "/api/v1/me", "query_string": b"a=\xff", "headers": []}

    answer = OneHopHandler()._respond(scope, b"")

    assert (answer.status, json.loads(answer.content)["code"]) == (400, "invalid")
    assert (b"content-type", b"application/problem+json") in answer.headers


@pytest.mark.parametrize("path", ["/ws/device", "/ws/service"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_a_socket_address_without_a_socket_says_what_is_missing(path: str, method: str) -> None:
    answer = Client(enforce_csrf_checks=True).generic(method, path)

    assert (answer.status_code, answer.headers["Upgrade"], answer.headers["Connection"]) == (
        426,
        "websocket",
        "Upgrade",
    )
    assert answer.headers["Content-Type"] == "application/problem+json"
    if method != "HEAD":
        assert problem(answer) == (426, "upgrade_required")
        assert "a proxy" in answer.json()["detail"]


@pytest.mark.django_db
def test_elsewhere_it_is_a_page() -> None:
    answer = Client().get("/nothing")

    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_a_failure_outside_of_views_is_a_problem_below_api(rf: Any) -> None:
    assert problem_of(problems.server_error(rf.get("/api/v1/me"))) == (500, "internal")
    assert problems.server_error(rf.get("/admin/"))["Content-Type"].startswith("text/html")


def test_an_answer_without_a_body_says_nothing_of_one() -> None:
    """RFC 9110, 8.6: a server must not send a Content-Length with 204."""
    host = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "OPTIONS", "path": "/api/v1/me", "query_string": b"", "headers": host}

    answer = OneHopHandler()._respond(scope, b"")

    assert (answer.status, answer.content) == (204, b"")
    assert not {name for name, _ in answer.headers} & {b"content-length", b"content-type", b"transfer-encoding"}


class TestOtherOrigins:
    """A page of another origin pulls, if its origin may open sockets."""

    ORIGIN = "https://app.example.com"

    @pytest.fixture(autouse=True)
    def listed(self, settings: Any, idle_node: object) -> None:
        settings.MEANWHILE_ORIGINS = [self.ORIGIN]

    @pytest.mark.parametrize("path", ["pending", "results", "notices", "me", "me/streams/room:a"])
    def test_a_preflight_needs_no_credential(self, path: str) -> None:
        asked = {"Origin": self.ORIGIN, "Access-Control-Request-Method": "POST"}

        answer = Client().options(f"/api/v1/{path}", headers=asked)

        assert answer.status_code == 204
        assert answer.headers["Access-Control-Allow-Origin"] == self.ORIGIN
        assert answer.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST, PUT, DELETE"
        assert answer.headers["Vary"] == "Origin"

    def test_a_refusal_can_be_read_too(self) -> None:
        answer = Client().get("/api/v1/me", headers={"Origin": self.ORIGIN})

        assert problem(answer) == (401, "bad_token")
        assert answer.headers["Access-Control-Allow-Origin"] == self.ORIGIN

    @pytest.mark.parametrize("origin", ["https://evil.example.com", "https://app.example.com.evil.com", "null", ""])
    def test_an_origin_that_is_not_listed_reads_nothing(self, origin: str, phone_api: Caller) -> None:
        answer = Client().get("/api/v1/me", headers={**phone_api.headers, "Origin": origin})

        assert answer.status_code == 200
        assert "Access-Control-Allow-Origin" not in answer.headers

    def test_services_are_no_pages(self) -> None:
        answer = Client().options("/api/v1/messages", headers={"Origin": self.ORIGIN})

        assert "Access-Control-Allow-Origin" not in answer.headers


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
#: Bodies as they should not come.
CONTENTS = [
    ("application/json", b"{"),
    ("application/json", b"7"),
    ("application/json; charset=\xff", b"[]"),
    ("multipart/form-data", b"x"),
    ("multipart/form-data; boundary=x", b"--x\r\n"),
    ("application/x-www-form-urlencoded", b"a=b"),
    ("nonsense", b"\xff"),
    ("", b""),
]


def is_an_answer_for_programs(caller: Caller, method: str, path: str, kind: str, body: bytes) -> None:
    """Not a fault of the server; and if it is a refusal, a problem."""
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    answer = client.generic(method, path, body, content_type=kind, headers=caller.headers)
    asked = f"{method} {path} {kind} {body!r}: {answer.status_code} {answer.content!r}"
    assert answer.status_code < 500, asked
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json", asked
        if method != "HEAD":
            problem(answer)


@pytest.mark.django_db
@pytest.mark.usefixtures("idle_node")
def test_no_method_without_a_credential_is_answered_by_a_page() -> None:
    routes = [str(one.pattern) for one in urlpatterns if str(one.pattern).startswith("api/")]
    addresses = [re.sub(r"<int:\w+>", "1", re.sub(r"<str:\w+>", "room:x", route)) for route in routes]

    for path, method in itertools.product(addresses, METHODS):
        is_an_answer_for_programs(Caller(), method, f"/{path}", "text/plain", b"x")


@pytest.mark.parametrize("case", ALL, ids=title)
@pytest.mark.usefixtures("idle_node")
def test_no_body_and_no_method_is_answered_by_a_page(case: Case, world: World, phone: Device) -> None:
    caller = device_caller(phone) if case.by == "device" else service_caller(world.game)
    path = f"/api/v1/{case.path}"

    for method in METHODS:
        if method not in {one.method for one in ALL if one.path == case.path}:
            is_an_answer_for_programs(caller, method, path, "text/plain", b"x")
    if case.body is not None:
        for kind, body in CONTENTS:
            is_an_answer_for_programs(caller, case.method, path, kind, body)
