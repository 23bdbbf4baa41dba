"""429 with Retry-After and the RateLimit fields."""

from __future__ import annotations

from typing import Any

import pytest

from apps_registry.models import Device
from messaging.models import Message
from tests.api.callers import Caller, problem


def drafts(count: int, data: Any = 1) -> dict[str, Any]:
    return {"messages": [{"to": "device:phone", "name": "turn", "data": data}] * count}


def test_an_answer_says_what_remains(game_api: Caller, phone: Device, settings: Any) -> None:
    settings.MEANWHILE_RATE_PUBLISH, settings.MEANWHILE_RATE_BYTES = 10, 1024

    answer = game_api.post("/api/v1/messages", drafts(3, "12345678"))

    assert answer.status_code == 200
    assert answer.headers["RateLimit-Policy"] == '"publish";q=10;w=1, "bytes";q=1024;w=1'
    assert answer.headers["RateLimit"] == '"publish";r=7;t=1, "bytes";r=994;t=1'


def test_too_many_messages_are_refused_and_not_stored(game_api: Caller, phone: Device, settings: Any) -> None:
    settings.MEANWHILE_RATE_PUBLISH = 2
    game_api.post("/api/v1/messages", drafts(2))

    answer = game_api.post("/api/v1/messages", drafts(2))

    assert problem(answer) == (429, "rate_limited")
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["RateLimit"].startswith('"publish";r=0;t=')
    assert answer.json()["temporary"] is True
    assert Message.objects.count() == 2


def test_a_message_to_many_streams_costs_each_of_them(game_api: Caller, phone: Device, settings: Any) -> None:
    settings.MEANWHILE_RATE_PUBLISH = 3

    many = {"messages": [{"to": ["room:a", "room:b", "room:c"], "name": "turn", "data": 1}]}

    assert game_api.post("/api/v1/messages", many).status_code == 200
    assert problem(game_api.post("/api/v1/messages", many)) == (429, "rate_limited")


def test_the_bytes_of_an_app_are_bounded(game_api: Caller, weather_api: Caller, phone: Device, settings: Any) -> None:
    settings.MEANWHILE_RATE_BYTES = 1024
    game_api.post("/api/v1/messages", drafts(1, "x" * 1000))

    assert problem(weather_api.post("/api/v1/messages", drafts(1, "x" * 1000))) == (429, "rate_limited")


@pytest.mark.parametrize(
    ("policy", "method", "path", "body"),
    [
        ("read", "GET", "/api/v1/devices", None),
        ("read", "GET", "/api/v1/results", None),
        ("manage", "POST", "/api/v1/types", {"name": "new", "delivery": "every"}),
    ],
)
def test_each_scope_of_a_key_has_its_own_rate(
    game_api: Caller, weather_api: Caller, settings: Any, policy: str, method: str, path: str, body: Any
) -> None:
    setattr(settings, f"MEANWHILE_RATE_{policy.upper()}", 1)
    game_api.call(method, path, body)

    answer = game_api.call(method, path, body)

    assert problem(answer) == (429, "rate_limited")
    assert answer.headers["RateLimit-Policy"] == f'"{policy}";q=1;w=1'
    assert weather_api.call(method, path, body).status_code in {200, 201}
    assert (
        game_api.post("/api/v1/messages", {"messages": [{"to": "room:a", "name": "turn", "data": 1}]}).status_code
        == 200
    )


def test_a_device_has_its_own_rate(phone_api: Caller, tablet_api: Caller, idle_node: Any, settings: Any) -> None:
    settings.MEANWHILE_RATE_DEVICE = 1
    phone_api.get("/api/v1/me")

    assert problem(phone_api.get("/api/v1/pending")) == (429, "rate_limited")
    assert tablet_api.get("/api/v1/pending").status_code == 200
