"""`POST /api/v1/messages`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps_registry.models import Device
from messaging.models import IdempotentAnswer, LatestValue, Message, Stream
from tests.api.callers import Caller, problem, service_caller
from tests.conftest import World

MESSAGES = "/api/v1/messages"


@pytest.fixture(autouse=True)
def _registered(game_api: Caller, phone: Device, tablet: Device) -> None:
    """A node, and two devices to publish to."""


def turn(to: Any = "device:phone", **more: Any) -> dict[str, Any]:
    return {"to": to, "name": "turn", "data": {"n": 1}, **more}


def test_each_message_is_answered_in_its_place(game_api: Caller) -> None:
    answer = game_api.post(
        MESSAGES,
        {
            "messages": [
                turn(),
                turn(["user:ann", "device:tablet"]),
                {"to": "room:lobby", "name": "weather", "data": 5, "key": "berlin"},
                {"to": "room:lobby", "name": "chat", "data": "hello"},
            ]
        },
    )

    assert answer.status_code == 200
    assert answer.json() == {
        "items": [
            {"stream": "device:phone", "offset": 1},
            [{"stream": "user:ann", "offset": 1}, {"stream": "device:tablet", "offset": 1}],
            {"stream": "room:lobby", "version": 1},
            {"stream": "room:lobby"},
        ]
    }


def test_the_payload_is_stored_as_the_text_it_came_as(game_api: Caller) -> None:
    payload = '{"price": 1.50,"n":1E3 , "s":"\\u00e9\\/"}'

    game_api.post(MESSAGES, f'{{"messages":[{{"to":"device:phone","name":"turn","data":{payload}}}]}}')

    assert Message.objects.get().payload == payload


def test_a_bad_message_does_not_sink_the_others(game_api: Caller) -> None:
    bad: list[Any] = [
        5,
        {},
        turn("nonsense"),
        turn("device:nobody"),
        turn(name="unknown"),
        turn(ttl=0),
        turn(data={"x": "y" * 70_000}),
        turn([]),
    ]

    items = game_api.post(MESSAGES, {"messages": [turn(), *bad, turn()]}).json()["items"]

    assert (items[0], items[-1]) == ({"stream": "device:phone", "offset": 1}, {"stream": "device:phone", "offset": 2})
    assert [item["problem"]["code"] for item in items[1:-1]] == [
        "invalid",
        "invalid",
        "unknown_stream",
        "unknown_device",
        "unknown_name",
        "invalid",
        "too_large",
        "invalid",
    ]
    assert Message.objects.count() == 2


def test_a_repeat_with_an_id_gets_the_same_offset(game_api: Caller) -> None:
    game_api.post(MESSAGES, {"messages": [turn(id="a")]})

    items = game_api.post(MESSAGES, {"messages": [turn(id="a"), turn(id="a", data=2), turn()]}).json()["items"]

    assert items[0] == {"stream": "device:phone", "offset": 1}
    assert items[1]["problem"]["code"] == "id_mismatch"
    assert items[2] == {"stream": "device:phone", "offset": 2}


def test_the_same_key_and_body_get_the_stored_answer(game_api: Caller) -> None:
    body = {"messages": [turn(), turn("device:nobody")]}

    first = game_api.post(MESSAGES, body, Idempotency_Key="order-1")
    again = game_api.post(MESSAGES, body, Idempotency_Key="order-1")

    assert first.content == again.content
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert Message.objects.count() == 1


def test_the_same_key_with_another_body_is_refused(game_api: Caller) -> None:
    game_api.post(MESSAGES, {"messages": [turn()]}, Idempotency_Key="order-1")

    answer = game_api.post(MESSAGES, {"messages": [turn(data=2)]}, Idempotency_Key="order-1")

    assert problem(answer) == (422, "idempotency_mismatch")
    assert Message.objects.count() == 1


def test_another_services_key_of_the_same_text_is_another_key(game_api: Caller, weather_api: Caller) -> None:
    game_api.post(MESSAGES, {"messages": [turn()]}, Idempotency_Key="1")

    answer = weather_api.post(MESSAGES, {"messages": [turn(data=2)]}, Idempotency_Key="1")

    assert answer.json() == {"items": [{"stream": "device:phone", "offset": 2}]}


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x7fb", "schlüssel"])
def test_an_idempotency_key_is_printable_and_at_most_255_long(game_api: Caller, key: str) -> None:
    answer = game_api.post(MESSAGES, {"messages": [turn()]}, Idempotency_Key=key)

    assert problem(answer) == (400, "invalid")
    assert not IdempotentAnswer.objects.exists()


def test_a_refused_request_may_be_repeated_with_the_same_key(game_api: Caller) -> None:
    game_api.post(MESSAGES, {"messages": []}, Idempotency_Key="1")

    answer = game_api.post(MESSAGES, {"messages": [turn()]}, Idempotency_Key="1")

    assert answer.status_code == 200


def test_a_closed_room_takes_nothing_more(game_api: Caller) -> None:
    game_api.post("/api/v1/streams/room:lobby/close")

    items = game_api.post(MESSAGES, {"messages": [turn("room:lobby")]}).json()["items"]

    assert (items[0]["problem"]["code"], items[0]["problem"]["status"]) == ("stream_closed", 410)


def test_a_service_reaches_only_streams_of_its_app(foreign_api: Caller, world: World) -> None:
    foreign_api.post(MESSAGES, {"messages": [turn("room:lobby"), turn("device:tablet")]})

    assert not Message.objects.filter(stream__app=world.app).exists()


#: Row 29 of what goes wrong: what is hostile or broken, and what is said of it.
HOSTILE: list[tuple[str, bytes, int, str]] = [
    ("empty", b"", 400, "bad_json"),
    ("not JSON", b"messages", 400, "bad_json"),
    ("cut off", b'{"messages":[{"to":', 400, "bad_json"),
    ("two documents", b"{} {}", 400, "bad_json"),
    ("not UTF-8", b'{"messages":[{"to":"device:phone","name":"turn","data":"\xff"}]}', 400, "bad_json"),
    ("UTF-16", '{"messages":[]}'.encode("utf-16"), 400, "bad_json"),
    ("BOM", b"\xef\xbb\xbf" + b'{"messages":[]}', 400, "bad_json"),
    ("a lone surrogate", b'{"messages":[{"to":"device:phone","name":"turn","data":"\\ud800"}]}', 400, "bad_json"),
    ("an escaped NUL", b'{"messages":[{"to":"device:phone","name":"turn","data":"\\u0000"}]}', 400, "bad_json"),
    ("a raw NUL", b'{"messages":[{"to":"device:phone","name":"turn","data":"\0"}]}', 400, "bad_json"),
    ("a control character", b'{"messages":[{"to":"device:phone","name":"turn","data":"\x1e"}]}', 400, "bad_json"),
    ("NaN", b'{"messages":[{"to":"device:phone","name":"turn","data":NaN}]}', 400, "bad_json"),
    ("Infinity", b'{"messages":[{"to":"device:phone","name":"turn","data":-Infinity}]}', 400, "bad_json"),
    ("1e999", b'{"messages":[{"to":"device:phone","name":"turn","data":1e999}]}', 400, "bad_json"),
    ("a member twice", b'{"messages":[{"to":"device:phone","name":"turn","data":{"a":1,"a":2}}]}', 400, "bad_json"),
    (
        "5,000 digits",
        b'{"messages":[{"to":"device:phone","name":"turn","data":' + b"9" * 5000 + b"}]}",
        400,
        "bad_json",
    ),
    (
        "too deep",
        b'{"messages":[{"to":"device:phone","name":"turn","data":' + b"[" * 33 + b"]" * 33 + b"}]}",
        400,
        "too_deep",
    ),
    ("absurdly deep", b"[" * 100_000, 400, "too_deep"),
    ("a list", b"[]", 400, "invalid"),
    ("a number", b"1", 400, "invalid"),
    ("null", b"null", 400, "invalid"),
    ("no messages", b"{}", 400, "invalid"),
    ("none at all", b'{"messages":[]}', 400, "invalid"),
    ("messages that are none", b'{"messages":{"to":1}}', 400, "invalid"),
    ("1,001 messages", json.dumps({"messages": [turn()] * 1001}).encode(), 400, "invalid"),
]


@pytest.mark.parametrize(("body", "status", "code"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_hostile_json_is_refused_and_nothing_is_stored(
    game_api: Caller, phone_api: Caller, body: bytes, status: int, code: str
) -> None:
    for caller, path in [(game_api, MESSAGES), (phone_api, "/api/v1/results")]:
        answer = caller.call("POST", path, body)

        # A list is what /results takes, but not an empty one.
        assert problem(answer) == (status, code), path
    assert not Message.objects.exists()
    assert not LatestValue.objects.exists()


def test_a_body_above_the_limit_is_refused(game_api: Caller, settings: Any) -> None:
    settings.MEANWHILE_MAX_BODY = 5000

    answer = game_api.post(MESSAGES, {"messages": [turn(data="x" * 6000)]})

    assert problem(answer) == (413, "too_large")


def test_a_body_far_above_djangos_own_limit_is_taken(game_api: Caller) -> None:
    messages = [turn(data="x" * 60_000) for _ in range(60)]

    answer = game_api.post(MESSAGES, {"messages": messages})

    assert len(answer.json()["items"]) == 60


def test_data_may_be_as_deep_as_the_limit_says(game_api: Caller) -> None:
    deep = "[" * 32 + "]" * 32

    answer = game_api.post(MESSAGES, f'{{"messages":[{{"to":"device:phone","name":"turn","data":{deep}}}]}}')

    assert answer.json() == {"items": [{"stream": "device:phone", "offset": 1}]}


def test_only_json_is_taken(game_api: Caller) -> None:
    answer = game_api._client.post(MESSAGES, {"messages": "x"}, headers=game_api.headers)

    assert problem(answer) == (415, "unsupported_media_type")


def test_a_key_without_the_scope_publish_publishes_nothing(world: World) -> None:
    answer = service_caller(world.game, "read", "manage").post(MESSAGES, {"messages": [turn()]})

    assert problem(answer) == (403, "wrong_scope")
    assert Stream.objects.get(name="device:phone").head == 0


def test_a_full_journal_refuses_for_the_moment(game_api: Caller, node: Any) -> None:
    node.journal._limit = 1
    node.journal._waiting = 1

    answer = game_api.post(MESSAGES, {"messages": [turn()]})

    node.journal._waiting = 0
    assert problem(answer) == (503, "overloaded")
    assert answer.json()["temporary"] is True
    assert answer.headers["Retry-After"] == "1"


def test_a_large_message_takes_more_of_the_journals_room(game_api: Caller, node: Any) -> None:
    node.journal._limit = 10
    node.journal._waiting = 1

    small = game_api.post(MESSAGES, {"messages": [turn()]})
    large = game_api.post(MESSAGES, {"messages": [turn(data="x" * 60_000)]})

    node.journal._waiting = 0
    assert small.status_code == 200
    assert problem(large) == (503, "overloaded")


def test_long_lists_of_streams_do_not_make_a_small_request_a_huge_one(game_api: Caller) -> None:
    rooms = [f"room:{number}" for number in range(1000)]

    wide = game_api.post(MESSAGES, {"messages": [turn(rooms)] * 21})
    large = game_api.post(MESSAGES, {"messages": [turn(rooms, data="x" * 50_000)] * 2})
    twice = game_api.post(MESSAGES, {"messages": [turn(["room:a"] * 1001)]})

    assert problem(wide) == problem(large) == (413, "too_large")
    assert twice.json()["items"][0]["problem"]["code"] == "invalid"
    assert not Message.objects.exists()
