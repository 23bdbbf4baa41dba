"""`GET /api/v1/messages/{stream}/{offset}`: who received, processed, failed."""

from __future__ import annotations

from typing import Any

import pytest

from apps_registry.models import Device, MessageType
from messaging.api import telling
from messaging.log import retention
from messaging.log.effects import Effects
from messaging.models import Result, Stream, Subscription
from tests.api.callers import Caller, problem
from tests.conftest import World

LOBBY = "/api/v1/messages/room:lobby"


@pytest.fixture(autouse=True)
def _members(game_api: Caller, phone: Device, tablet: Device) -> None:
    """A node, and two members of the lobby."""


def states(answer: Any) -> list[dict[str, Any]]:
    """What is told of each device, without the moment."""
    return [{name: value for name, value in item.items() if name != "at"} for item in answer.json()["items"]]


def test_each_member_stands_where_it_is(game_api: Caller, world: World, phone_api: Caller, tablet: Device) -> None:
    world.device("watch", rooms=("room:lobby",))
    world.publish("room:lobby", dedup_id="m-1")
    world.publish("room:lobby")
    failed = {"offset": 1, "status": "failed", "code": "TypeError", "detail": "no colour"}
    phone_api.post("/api/v1/results", {"stream": "room:lobby", "upto": 2, "exceptions": [failed]})
    Subscription.objects.filter(device=tablet, stream__name="room:lobby").update(received=1)

    answer = game_api.get(f"{LOBBY}/1")

    assert states(answer) == [
        {
            "device": "phone",
            "state": "failed",
            "received": True,
            "processed": False,
            "status": "failed",
            "code": "TypeError",
            "detail": "no colour",
        },
        {"device": "tablet", "state": "received", "received": True, "processed": False},
        {"device": "watch", "state": "stored", "received": False, "processed": False},
    ]
    about = answer.json()["message"]
    assert (about["name"], about["service"], about["id"]) == ("turn", "game", "m-1")
    reported = telling.moment(Result.objects.get(status="failed").reported_at)
    assert [item["at"] for item in answer.json()["items"]] == [reported, None, about["published_at"]]
    assert states(game_api.get(f"{LOBBY}/2"))[0] == {
        "device": "phone",
        "state": "processed",
        "received": True,
        "processed": True,
        "status": "processed",
        "code": "",
        "detail": "",
    }


def test_a_result_says_when_it_was_reported_and_a_stored_message_when_it_was_published(
    game_api: Caller, world: World, phone_api: Caller
) -> None:
    world.publish("room:lobby")
    phone_api.post("/api/v1/results", {"stream": "room:lobby", "upto": 1})

    answer = game_api.get(f"{LOBBY}/1").json()

    phone, tablet = answer["items"]
    assert phone["at"] == telling.moment(Result.objects.get().reported_at)
    assert tablet["at"] == answer["message"]["published_at"]


def test_the_result_is_found_where_several_services_hear(game_api: Caller, world: World, phone_api: Caller) -> None:
    """Rows of several services overlap: 1 to 3 of one, 2 alone of the other."""
    world.publish("room:lobby")
    world.publish("room:lobby", service=world.weather)
    world.publish("room:lobby")
    phone_api.post("/api/v1/results", {"stream": "room:lobby", "upto": 3, "exceptions": [{"offset": 3}]})

    found = [states(game_api.get(f"{LOBBY}/{offset}"))[0]["status"] for offset in (1, 2, 3)]

    assert found == ["processed", "processed", "failed"]


def test_who_joined_later_was_never_meant(game_api: Caller, world: World) -> None:
    world.publish("room:lobby")
    world.device("late", rooms=("room:lobby",))

    assert [one["device"] for one in states(game_api.get(f"{LOBBY}/1"))] == ["phone", "tablet"]


def test_a_message_that_was_removed_is_told_by_its_gap(game_api: Caller, world: World) -> None:
    world.publish("room:lobby")
    retention.purge(stream_id=Stream.objects.get(name="room:lobby").pk, upto=1, effects=Effects())

    answer = game_api.get(f"{LOBBY}/1")

    assert answer.json()["message"] is None
    assert states(answer)[0] == {
        "device": "phone",
        "state": "gap",
        "received": False,
        "processed": False,
        "status": "gap",
        "code": "purged",
        "detail": "",
    }


def test_members_come_in_pages(game_api: Caller, world: World) -> None:
    world.publish("room:lobby")

    first = game_api.get(f"{LOBBY}/1", limit=1)
    second = game_api.get(f"{LOBBY}/1", limit=1, cursor=first.json()["next"])

    assert [one["device"] for one in states(first) + states(second)] == ["phone", "tablet"]
    assert 'rel="next"' in first.headers["Link"]
    assert second.json()["next"] is None


@pytest.mark.parametrize("offset", ["0", "2", "9" * 30])
def test_an_offset_that_never_was_is_not_found(game_api: Caller, world: World, offset: str) -> None:
    world.publish("room:lobby")

    assert problem(game_api.get(f"{LOBBY}/{offset}")) == (404, "not_found")


@pytest.mark.parametrize("path", ["/api/v1/messages/room:nowhere/1", "/api/v1/messages/lobby/1"])
def test_a_stream_that_is_not_there_is_unknown(game_api: Caller, path: str) -> None:
    assert problem(game_api.get(path)) == (404, "unknown_stream")


def test_what_a_type_without_results_succeeded_in_is_processed_all_the_same(
    game_api: Caller, world: World, phone_api: Caller
) -> None:
    MessageType.objects.filter(name="turn").update(result_required=False)
    world.publish("room:lobby")
    phone_api.post("/api/v1/results", {"stream": "room:lobby", "upto": 1})

    told = states(game_api.get(f"{LOBBY}/1"))[0]

    assert told == {"device": "phone", "state": "processed", "received": True, "processed": True}
    assert not Result.objects.exists()


def test_a_message_that_stopped_a_stream_is_failed_until_it_is_processed(
    game_api: Caller, world: World, phone_api: Caller
) -> None:
    MessageType.objects.filter(name="turn").update(on_failure="stop")
    world.publish("room:lobby")
    world.publish("room:lobby")
    failed = {"offset": 1, "status": "failed", "code": "TypeError"}

    saved = phone_api.post("/api/v1/results", {"stream": "room:lobby", "upto": 2, "exceptions": [failed]})
    waiting = states(game_api.get(f"{LOBBY}/1"))[0]
    phone_api.post("/api/v1/results", {"stream": "room:lobby", "upto": 2})
    through = states(game_api.get(f"{LOBBY}/1"))[0]

    assert saved.json() == {"stream": "room:lobby", "processed": 0, "stopped": 1}
    assert (waiting["state"], waiting["code"], waiting["stopped"]) == ("failed", "TypeError", True)
    assert (waiting["processed"], "stopped" in through) == (False, False)
    assert (through["state"], through["processed"]) == ("processed", True)
