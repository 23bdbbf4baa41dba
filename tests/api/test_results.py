"""`POST /api/v1/results` of devices, and the services' feed `GET /api/v1/results`."""

from __future__ import annotations

from typing import Any

import pytest

from apps_registry.models import Device, MessageType
from messaging.models import Result, Subscription
from messaging.protocol import frames
from tests.api.callers import Caller, problem
from tests.conftest import World

RESULTS = "/api/v1/results"


@pytest.fixture(autouse=True)
def _three(game_api: Caller, world: World, phone: Device) -> None:
    """A node, and three messages for the phone."""
    for _ in range(3):
        world.publish("device:phone")


def place(device: Device, stream: str = "device:phone") -> tuple[int, int]:
    row = Subscription.objects.get(device=device, stream__name=stream)
    return row.processed, row.received


def test_results_move_the_cursor_and_are_confirmed(phone: Device, phone_api: Caller) -> None:
    answer = phone_api.post(RESULTS, {"stream": "device:phone", "upto": 2})

    assert (answer.status_code, answer.json()) == (200, {"stream": "device:phone", "processed": 2})
    assert place(phone) == (2, 2)


def test_the_same_results_again_change_nothing(phone_api: Caller, game_api: Caller) -> None:
    body = {"stream": "device:phone", "upto": 2, "exceptions": [{"offset": 1, "status": "failed", "code": "E"}]}

    first = phone_api.post(RESULTS, body)
    again = phone_api.post(RESULTS, body)

    assert first.json() == again.json()
    assert len(game_api.get(RESULTS).json()["items"]) == 2


def test_the_results_frame_is_taken_as_it_is(phone_api: Caller) -> None:
    body = {"type": "results", "id": 7, "stream": "device:phone", "upto": 1, "exceptions": [], "values": [], "new": 1}

    assert phone_api.post(RESULTS, body).json() == {"stream": "device:phone", "processed": 1}


def test_a_list_is_answered_item_by_item(phone: Device, phone_api: Caller) -> None:
    answer = phone_api.post(
        RESULTS,
        [
            {"stream": "device:phone", "upto": 1},
            {"stream": "room:elsewhere", "upto": 1},
            {"stream": "device:phone"},
            {"stream": "device:phone", "upto": 3, "epoch": "another"},
            {"stream": "device:phone", "upto": 2},
            {"stream": "user:ann", "upto": 9},
        ],
    )

    items = answer.json()["items"]
    assert [item.get("problem", {}).get("code", item.get("processed")) for item in items] == [
        1,
        "unknown_stream",
        "invalid",
        "epoch_changed",
        2,
        0,
    ]
    assert place(phone) == (2, 2)


def test_the_feed_tells_each_offset_once(phone_api: Caller, game_api: Caller, phone: Device) -> None:
    phone_api.post(
        RESULTS,
        {
            "stream": "device:phone",
            "upto": 3,
            "exceptions": [{"offset": 2, "status": "rejected", "code": "TypeError", "detail": "no"}],
            "values": [{"offset": 3, "value": {"score": 1.50}}],
        },
    )

    answer = game_api.get(RESULTS).json()

    told = [(one["position"], one["from"], one["upto"], one["status"], one["code"]) for one in answer["items"]]
    assert told == [(1, 1, 1, "processed", ""), (2, 2, 2, "rejected", "TypeError"), (3, 3, 3, "processed", "")]
    assert "value" not in answer["items"][0]
    assert answer["items"][2]["value"] == {"score": 1.5}
    assert {(one["device"], one["stream"]) for one in answer["items"]} == {("phone", "device:phone")}
    assert answer["next"] == 3


def test_the_feed_goes_on_after_a_position(phone_api: Caller, game_api: Caller) -> None:
    for upto in (1, 2, 3):
        phone_api.post(RESULTS, {"stream": "device:phone", "upto": upto})

    first = game_api.get(RESULTS, limit=2).json()
    second = game_api.get(RESULTS, after=first["next"], limit=2).json()
    third = game_api.get(RESULTS, after=second["next"]).json()

    assert [one["position"] for one in first["items"] + second["items"]] == [1, 2, 3]
    assert third == {"items": [], "next": 3}


def test_a_service_hears_of_its_own_messages_alone(
    world: World, phone_api: Caller, game_api: Caller, weather_api: Caller
) -> None:
    world.publish("device:phone", service=world.weather)

    phone_api.post(RESULTS, {"stream": "device:phone", "upto": 4})

    assert [(one["from"], one["upto"]) for one in game_api.get(RESULTS).json()["items"]] == [(1, 3)]
    assert [(one["from"], one["upto"]) for one in weather_api.get(RESULTS).json()["items"]] == [(4, 4)]


def test_services_named_by_the_type_hear_instead(
    world: World, phone_api: Caller, game_api: Caller, weather_api: Caller
) -> None:
    MessageType.objects.get(app=world.app, name="turn").report_to.set([world.weather])

    phone_api.post(RESULTS, {"stream": "device:phone", "upto": 3})

    assert game_api.get(RESULTS).json()["items"] == []
    assert [(one["from"], one["upto"]) for one in weather_api.get(RESULTS).json()["items"]] == [(1, 3)]


def test_the_stranger_moves_nobody_elses_cursor(stranger_api: Caller, foreign_api: Caller, phone: Device) -> None:
    answer = stranger_api.post(RESULTS, {"stream": "device:phone", "upto": 3})

    assert answer.json() == {"stream": "device:phone", "processed": 0}
    assert place(phone) == (0, 0)
    assert foreign_api.get(RESULTS).json()["items"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"upto": -1},
        {"upto": 2**53},
        {"upto": 1.5},
        {"upto": "1"},
        {"upto": True},
        {"upto": None},
        {"stream": 5},
        {"stream": "x" * 161},
        {"exceptions": [{"offset": 0}]},
        {"exceptions": [{"offset": 2**53}]},
        {"exceptions": [{"offset": 1, "status": "processed"}]},
        {"exceptions": [{"offset": 1, "code": "x" * 129}]},
        {"exceptions": [{"offset": 1, "detail": "x" * 1025}]},
        {"exceptions": [{"offset": 1}, {"offset": 1}]},
        {"exceptions": [{"offset": 3}]},
        {"exceptions": {"1": "failed"}},
        {"values": [{"offset": 1}]},
        {"exceptions": [{"offset": 1}], "values": [{"offset": 1, "value": 1}]},
    ],
)
def test_results_that_make_no_sense_are_refused(phone: Device, phone_api: Caller, change: dict[str, Any]) -> None:
    answer = phone_api.post(RESULTS, {"stream": "device:phone", "upto": 2, **change})

    assert problem(answer) == (400, "invalid")
    assert place(phone) == (0, 0)
    assert not Result.objects.exists()


def test_a_value_has_the_limit_of_data(phone_api: Caller) -> None:
    answer = phone_api.post(
        RESULTS, {"stream": "device:phone", "upto": 1, "values": [{"offset": 1, "value": "x" * 70_000}]}
    )

    assert problem(answer) == (413, "too_large")


@pytest.mark.parametrize("body", [[], [1] * 1001])
def test_a_list_has_1_to_1000_items(phone_api: Caller, body: list[int]) -> None:
    assert problem(phone_api.post(RESULTS, body)) == (400, "invalid")


def test_another_epoch_is_refused_with_the_valid_position(world: World, phone: Device, phone_api: Caller) -> None:
    answer = phone_api.post(RESULTS, {"stream": "device:phone", "upto": 2, "epoch": "another"})

    assert problem(answer) == (409, "epoch_changed")
    assert answer.json()["epoch"] == world.entry(phone).epoch
    assert answer.json()["processed"] == 0


@pytest.mark.parametrize("query", [{"after": -1}, {"after": "x"}, {"limit": 0}, {"limit": 2001}])
def test_nonsense_in_the_feeds_query_is_refused(game_api: Caller, query: dict[str, Any]) -> None:
    assert problem(game_api.get(RESULTS, **query)) == (400, "invalid")


def test_the_body_is_the_frame_without_its_type() -> None:
    """Whoever adds a member to the frame adds it here, too: one struct reads both."""
    assert frames.Results.__struct_config__.tag == "results"


def test_a_position_beyond_the_feed_is_of_another_history(phone_api: Caller, game_api: Caller) -> None:
    phone_api.post(RESULTS, {"stream": "device:phone", "upto": 1})

    answer = game_api.get(RESULTS, after=2)

    assert problem(answer) == (410, "position_gone")
    assert answer.json()["head"] == 1
    assert game_api.get(RESULTS, after=1).json() == {"items": [], "next": 1}
