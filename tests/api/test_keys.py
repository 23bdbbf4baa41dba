"""`/api/v1/keys`, `/api/v1/services`: what a service with the scope manage does about credentials of its app."""

from __future__ import annotations

from typing import Any

import pytest

from apps_registry import services
from apps_registry.models import Device, Service, ServiceKey
from tests.api.callers import Caller, problem, service_caller
from tests.conftest import World

KEYS, SERVICES = "/api/v1/keys", "/api/v1/services"

pytestmark = pytest.mark.usefixtures("idle_node")


def prefix_of(caller: Caller) -> str:
    return caller.headers["Authorization"].split("_")[1]


@pytest.fixture
def manager(world: World) -> Caller:
    """The game service, with every scope."""
    return service_caller(world.game)


def test_a_new_key_opens_what_its_scopes_say(manager: Caller) -> None:
    answer = manager.post(KEYS, {"scopes": ["read"]})

    said = answer.json()
    reader = Caller(said["key"])
    assert answer.status_code == 201
    assert (said["service"], said["scopes"], said["last_used_at"], said["revoked_at"]) == ("game", ["read"], None, None)
    assert said["key"].startswith(f"mw_{said['prefix']}_")
    assert reader.get("/api/v1/devices").status_code == 200
    assert problem(reader.get(KEYS)) == (403, "wrong_scope")


def test_a_key_can_be_made_for_another_service_of_the_app(manager: Caller) -> None:
    said = manager.post(KEYS, {"service": "weather", "scopes": ["publish"]}).json()

    assert said["service"] == "weather"
    assert services.authenticate_key(said["key"]).service.name == "weather"


def test_the_list_tells_all_keys_and_never_a_secret(manager: Caller, world: World) -> None:
    made = manager.post(KEYS, {"service": "weather", "scopes": ["publish", "read"]}).json()

    everyone = manager.get(KEYS)
    of_weather = manager.get(KEYS, service="weather").json()["items"]

    assert {one["prefix"] for one in everyone.json()["items"]} == {prefix_of(manager), made["prefix"]}
    assert of_weather == [{name: value for name, value in made.items() if name != "key"}]
    assert made["key"].split("_")[2].encode() not in everyone.content


def test_the_list_says_when_a_key_was_last_used(manager: Caller) -> None:
    (one,) = manager.get(KEYS).json()["items"]

    assert one["last_used_at"].endswith("Z")


def test_the_list_comes_in_pages(manager: Caller) -> None:
    for _ in range(3):
        manager.post(KEYS, {"scopes": ["read"]})

    first = manager.get(KEYS, limit=3).json()
    rest = manager.get(KEYS, limit=3, cursor=first["next"]).json()

    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (3, 1, None)


def test_a_rotated_key_has_the_same_scopes_and_the_old_one_works_until_it_is_revoked(manager: Caller) -> None:
    old = manager.post(KEYS, {"service": "weather", "scopes": ["read"]}).json()

    answer = manager.post(f"{KEYS}/{old['prefix']}/rotate")
    both = [Caller(key).get(SERVICES).status_code for key in (old["key"], answer.json()["key"])]
    gone = manager.delete(f"{KEYS}/{old['prefix']}")
    after = [Caller(key).get(SERVICES).status_code for key in (old["key"], answer.json()["key"])]

    assert answer.status_code == 201
    assert (answer.json()["service"], answer.json()["scopes"]) == ("weather", ["read"])
    assert answer.json()["prefix"] != old["prefix"]
    assert both == [200, 200]
    assert gone.status_code == 204
    assert after == [401, 200]


def test_a_key_may_replace_itself(manager: Caller) -> None:
    fresh = Caller(manager.post(f"{KEYS}/{prefix_of(manager)}/rotate").json()["key"])

    assert fresh.delete(f"{KEYS}/{prefix_of(manager)}").status_code == 204
    assert problem(manager.get(KEYS)) == (401, "bad_key")
    assert fresh.get(KEYS).status_code == 200


def test_a_revoked_key_stays_in_the_list_and_cannot_be_rotated(manager: Caller) -> None:
    made = manager.post(KEYS, {"service": "weather", "scopes": ["read"]}).json()

    for _ in range(2):
        assert manager.delete(f"{KEYS}/{made['prefix']}").status_code == 204

    (listed,) = manager.get(KEYS, service="weather").json()["items"]
    assert listed["revoked_at"].endswith("Z")
    assert problem(manager.post(f"{KEYS}/{made['prefix']}/rotate")) == (404, "unknown_key")


def test_the_last_key_that_may_manage_is_not_revoked(manager: Caller, world: World) -> None:
    manager.post(KEYS, {"service": "weather", "scopes": ["publish", "read"]})

    assert problem(manager.delete(f"{KEYS}/{prefix_of(manager)}")) == (409, "last_key")
    assert manager.get(KEYS).status_code == 200

    manager.post(KEYS, {"service": "weather", "scopes": ["manage"]})
    assert manager.delete(f"{KEYS}/{prefix_of(manager)}").status_code == 204


def test_another_apps_key_that_may_manage_does_not_count(manager: Caller, stranger: Device) -> None:
    service_caller(Service.objects.create(app=stranger.app, name="game"))

    assert problem(manager.delete(f"{KEYS}/{prefix_of(manager)}")) == (409, "last_key")


def test_a_key_gives_only_scopes_that_it_has(world: World, manager: Caller) -> None:
    whole = prefix_of(manager)
    limited = service_caller(world.game, "manage", "read")

    assert problem(limited.post(KEYS, {"scopes": ["publish"]})) == (403, "wrong_scope")
    assert problem(limited.post(f"{KEYS}/{whole}/rotate")) == (403, "wrong_scope")
    assert limited.post(KEYS, {"scopes": ["manage", "read"]}).status_code == 201
    assert limited.delete(f"{KEYS}/{whole}").status_code == 204


def test_a_service_has_at_most_ten_active_keys(manager: Caller, world: World) -> None:
    made = [manager.post(KEYS, {"service": "weather", "scopes": ["read"]}).json() for _ in range(services.MOST_KEYS)]

    assert problem(manager.post(KEYS, {"service": "weather", "scopes": ["read"]})) == (409, "too_many_keys")
    assert problem(manager.post(f"{KEYS}/{made[0]['prefix']}/rotate")) == (409, "too_many_keys")
    assert manager.post(KEYS, {"scopes": ["read"]}).status_code == 201

    manager.delete(f"{KEYS}/{made[0]['prefix']}")
    assert manager.post(KEYS, {"service": "weather", "scopes": ["read"]}).status_code == 201


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["admin"]}, "scopes"),
        ({"scopes": "read"}, "scopes"),
        ({"scopes": ["read"], "service": "nobody"}, "service"),
        ({"scopes": ["read"], "service": 5}, "service"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(manager: Caller, body: Any, member: str) -> None:
    answer = manager.post(KEYS, body)

    assert problem(answer) == (400, "invalid")
    assert list(answer.json()["errors"]) == [member]
    assert ServiceKey.objects.count() == 1


def test_a_service_is_registered_once(manager: Caller) -> None:
    first = manager.post(SERVICES, {"service": "billing"})
    again = manager.post(SERVICES, {"service": "billing"})
    manager.post(KEYS, {"service": "billing", "scopes": ["publish"]})

    listed = manager.get(SERVICES).json()["items"]
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert [(one["service"], one["keys"]) for one in listed] == [("billing", 1), ("game", 1), ("weather", 0)]


@pytest.mark.parametrize("body", [{}, {"service": ""}, {"service": "a b"}, {"service": "x" * 129}, {"service": None}])
def test_a_service_without_a_name_is_refused(manager: Caller, body: Any) -> None:
    assert problem(manager.post(SERVICES, body)) == (400, "invalid")
