"""`/api/v1/app`: what a service sees and changes of its own app."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from apps_registry.models import App, Device
from messaging.models import AppStorage
from tests.api.callers import Caller, problem
from tests.conftest import World

APP = "/api/v1/app"


def test_an_app_is_told_with_its_limits(game_api: Caller, world: World, settings: Settings) -> None:
    settings.MEANWHILE_RATE_PUBLISH, settings.MEANWHILE_APP_CONNECTIONS = 1000, 7
    AppStorage.objects.create(app=world.app, stored=4321)
    App.objects.filter(pk=world.app.pk).update(storage_limit=5000)

    said = game_api.get(APP).json()

    assert (said["app"], said["room_rate"], said["stored"]) == ("demo", None, 4321)
    assert (said["limits"]["publish"], said["limits"]["connections"], said["limits"]["storage"]) == (1000, 7, 5000)
    assert "signing" not in str(said)


def test_an_app_without_a_bound_on_storage_says_null(game_api: Caller, world: World) -> None:
    App.objects.filter(pk=world.app.pk).update(storage_limit=0)

    assert game_api.get(APP).json()["limits"]["storage"] is None


def test_a_room_rate_holds_from_the_next_publish_on(game_api: Caller) -> None:
    drafts = {"messages": [{"to": "room:lobby", "name": "gift", "data": n} for n in range(5)]}

    changed = game_api.patch(APP, {"room_rate": 1})
    shed = [item.get("shed", False) for item in game_api.post("/api/v1/messages", drafts).json()["items"]]
    back = game_api.patch(APP, {"room_rate": None})
    after = [item.get("shed", False) for item in game_api.post("/api/v1/messages", drafts).json()["items"]]

    assert (changed.status_code, changed.json()["room_rate"]) == (200, 1)
    assert shed == [False, False, True, True, True]
    assert back.json()["room_rate"] is None
    assert after == [False] * 5


@pytest.mark.parametrize("body", [{}, {"app": "other", "name": "other", "limits": {"publish": 1}, "storage_limit": 1}])
def test_what_is_the_operators_stays_as_it_is(game_api: Caller, world: World, body: Any) -> None:
    before = App.objects.filter(pk=world.app.pk).values().get()

    assert game_api.patch(APP, body).status_code == 200
    assert App.objects.filter(pk=world.app.pk).values().get() == before


@pytest.mark.parametrize("rate", [0, -1, 1_000_001, "fast", 1.5, [], {}])
def test_a_room_rate_that_makes_no_sense_is_refused(game_api: Caller, world: World, rate: Any) -> None:
    answer = game_api.patch(APP, {"room_rate": rate})

    assert problem(answer) == (400, "invalid")
    assert list(answer.json()["errors"]) == ["room_rate"]
    assert App.objects.get(pk=world.app.pk).room_rate is None


def test_another_apps_rate_is_not_touched(game_api: Caller, stranger: Device) -> None:
    game_api.patch(APP, {"room_rate": 3})

    assert App.objects.get(pk=stranger.app_id).room_rate is None
