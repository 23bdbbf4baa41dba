"""`POST /api/v1/notices` and `GET /api/v1/me`."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from apps_registry.models import Device
from messaging.log import presence
from messaging.log.effects import Effects
from messaging.models import Presence
from tests.api.callers import Caller, problem
from tests.conftest import World

NOTICES, ME = "/api/v1/notices", "/api/v1/me"


@pytest.fixture(autouse=True)
def _connected(game_api: Caller, phone: Device) -> None:
    """A node, and the phone in the foreground with a connection."""
    with transaction.atomic():
        presence.enter([presence.Arrival(phone.pk, "foreground", 3, "pull", "elsewhere")], Effects())


def test_the_background_is_said_while_the_page_goes_away(phone: Device, phone_api: Caller) -> None:
    answer = phone_api.post(NOTICES, {"state": "background", "state_seq": 4})

    assert (answer.status_code, answer.json()) == (200, {"state": "background", "state_seq": 4, "streams": []})
    assert Presence.objects.get(device=phone).state == "background"


def test_a_foreground_notice_is_answered_with_the_cuts(world: World, phone: Device, phone_api: Caller) -> None:
    world.publish("device:phone")

    answer = phone_api.post(NOTICES, {"state": "foreground", "state_seq": 4}).json()

    cuts = {entry["stream"]: (entry["processed"], entry["cut"]) for entry in answer["streams"]}
    assert cuts == {"device:phone": (0, 1), "room:lobby": (0, 0), "user:ann": (0, 0)}


def test_an_older_notice_changes_nothing_and_gets_the_current_state(phone: Device, phone_api: Caller) -> None:
    phone_api.post(NOTICES, {"state": "background", "state_seq": 9})

    answer = phone_api.post(NOTICES, {"state": "foreground", "state_seq": 8}).json()

    assert (answer["state"], answer["state_seq"]) == ("background", 9)


def test_a_notice_without_a_connection_makes_nobody_online(tablet: Device, tablet_api: Caller) -> None:
    answer = tablet_api.post(NOTICES, {"state": "foreground", "state_seq": 1}).json()

    assert answer["state"] == "offline"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"state": "foreground"},
        {"state": "offline", "state_seq": 1},
        {"state": "background", "state_seq": -1},
        {"state": "background", "state_seq": 2**53},
        {"state": "background", "state_seq": "1"},
        {"state": None, "state_seq": 1},
        [],
    ],
)
def test_a_notice_that_makes_no_sense_is_refused(phone: Device, phone_api: Caller, body: Any) -> None:
    assert problem(phone_api.post(NOTICES, body)) == (400, "invalid")
    assert Presence.objects.get(device=phone).state_seq == 3


def test_a_device_is_told_who_it_is(world: World, phone: Device, phone_api: Caller) -> None:
    world.publish("device:phone")
    at = timezone.now().replace(year=2026, month=11, day=22, hour=10, minute=0, second=0, microsecond=5000)
    Presence.objects.filter(device=phone).update(last_seen=at, connected_at=None)

    answer = phone_api.get(ME).json()

    assert (answer["device"], answer["user"], answer["app"]) == ("phone", "ann", "demo")
    assert answer["presence"] == {
        "state": "foreground",
        "state_seq": 3,
        "generation": 1,
        "last_seen": "2026-11-22T10:00:00.005Z",
        "connected_at": None,
    }
    assert [(entry["stream"], entry["head"]) for entry in answer["streams"]] == [
        ("device:phone", 1),
        ("room:lobby", 0),
        ("user:ann", 0),
    ]
