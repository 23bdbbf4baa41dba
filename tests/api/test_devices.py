"""`/api/v1/devices`: register, look, new token, revoke."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from apps_registry.models import Device
from messaging.live import node as live_node
from messaging.log.effects import Effects
from messaging.models import Presence, Subscription
from tests.api.callers import Caller, problem
from tests.conftest import World

DEVICES = "/api/v1/devices"


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[Effects]:
    """What open connections are told of."""
    told: list[Effects] = []
    monkeypatch.setattr(live_node, "announce", told.append)
    return told


def test_a_registered_device_can_speak(game_api: Caller) -> None:
    answer = game_api.post(DEVICES, {"device": "d1", "user": "u1", "streams": ["room:lobby"]})

    said = answer.json()
    assert answer.status_code == 201
    assert said["streams"] == ["device:d1", "room:lobby", "user:u1"]
    assert said["expires_at"].endswith(".000Z")
    assert Caller(said["token"]).get("/api/v1/me").json()["user"] == "u1"


@pytest.mark.parametrize("nobody", [None, ""])
def test_a_device_of_nobody_is_registered(game_api: Caller, nobody: str | None) -> None:
    game_api.post(DEVICES, {"device": "d1", "user": "u1"})

    said = game_api.post(DEVICES, {"device": "d1", "user": nobody}).json()

    assert (said["user"], said["streams"]) == ("", ["device:d1"])


def test_the_same_device_again_keeps_its_cursors(game_api: Caller, world: World) -> None:
    first = game_api.post(DEVICES, {"device": "d1", "user": "u1"}).json()
    world.publish("device:d1")

    again = game_api.post(DEVICES, {"device": "d1", "user": "u1"})

    assert again.status_code == 201
    assert len(Caller(again.json()["token"]).get("/api/v1/pending").json()["messages"]) == 1
    assert Caller(first["token"]).get("/api/v1/me").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"device": ""},
        {"device": "a b"},
        {"device": "x" * 129},
        {"device": None},
        {"device": 5},
        {"device": True},
        {"device": "d1\n"},
        {"device": " d1"},
        {"device": "d1", "user": 7},
        {"device": "d1", "user": "u1\n"},
        {"device": "d1", "streams": [5]},
        {"device": "d1", "rooms": ["room:lobby\n"]},
        {"device": "d1", "platform": 5},
        {"device": {"a": 1}},
        {"device": "d1", "user": "a/b"},
        {"device": "d1", "platform": "x" * 65},
        {"device": "d1", "streams": ["device:phone"]},
        {"device": "d1", "streams": ["user:ann"]},
        {"device": "d1", "streams": "room:lobby"},
        {"device": "d1", "rooms": ["lobby"]},
        {"device": "d1", "rooms": [5]},
    ],
)
def test_a_registration_that_makes_no_sense_is_refused(game_api: Caller, body: Any) -> None:
    assert problem(game_api.post(DEVICES, body)) == (400, "invalid")
    assert not Device.objects.exists()


def test_a_bad_name_is_told_by_the_member_it_stands_in(game_api: Caller) -> None:
    answer = game_api.post(DEVICES, {"device": "a b", "user": "c d"})

    assert set(answer.json()["errors"]) == {"device", "user"}


@pytest.mark.parametrize("stream", ["lobby", "room:lobby ", "room:lobby\n"])
def test_a_stream_of_no_kind_is_unknown(game_api: Caller, stream: str) -> None:
    assert problem(game_api.post(DEVICES, {"device": "d1", "streams": [stream]})) == (404, "unknown_stream")


def test_the_refusal_names_the_member(game_api: Caller) -> None:
    answer = game_api.post(DEVICES, {"device": "d1", "streams": 5})

    assert list(answer.json()["errors"]) == ["streams"]


def test_devices_are_listed_with_presence_and_backlog(
    game_api: Caller, world: World, phone: Device, tablet: Device, stranger: Device
) -> None:
    for stream in ("device:phone", "user:ann", "room:lobby"):
        world.publish(stream)
    Subscription.objects.filter(device=phone, stream__name="user:ann").update(processed=1, received=1)
    Presence.objects.create(device=phone, state="background", state_seq=4, generation=2)

    answer = game_api.get(DEVICES).json()

    assert [(one["device"], one["backlog"], one["presence"]["state"]) for one in answer["items"]] == [
        ("phone", 2, "background"),
        ("tablet", 2, "offline"),
    ]
    assert answer["items"][0]["rooms"] == ["room:lobby"]
    assert answer["next"] is None


def test_pages_of_devices_follow_one_another(game_api: Caller, world: World) -> None:
    names = sorted(f"d{number}" for number in range(7))
    for name in names:
        world.device(name, user="ann" if name < "d5" else "bob")

    seen: list[str] = []
    answer = game_api.get(DEVICES, limit=2, user="ann")
    while True:
        seen += [one["device"] for one in answer.json()["items"]]
        if "Link" not in answer.headers:
            break
        target, _, relation = answer.headers["Link"].partition(">; ")
        assert relation == 'rel="next"'
        url = urlsplit(target.removeprefix("<"))
        answer = game_api.get(url.path, **{name: found[0] for name, found in parse_qs(url.query).items()})

    assert seen == names[:5]
    assert answer.json()["next"] is None


def test_devices_are_filtered_by_state(game_api: Caller, world: World, phone: Device, tablet: Device) -> None:
    world.device("new")
    Presence.objects.create(device=phone, state="foreground")
    Presence.objects.create(device=tablet, state="offline")

    found = {
        state: [one["device"] for one in game_api.get(DEVICES, state=state).json()["items"]]
        for state in ("foreground", "background", "offline")
    }

    assert found == {"foreground": ["phone"], "background": [], "offline": ["new", "tablet"]}


@pytest.mark.parametrize(
    "query", [{"state": "asleep"}, {"limit": 0}, {"limit": 1001}, {"cursor": "!"}, {"cursor": "AA"}, {"user": "\0"}]
)
def test_nonsense_in_the_query_is_refused(game_api: Caller, query: dict[str, Any]) -> None:
    assert problem(game_api.get(DEVICES, **query)) == (400, "invalid")


def test_one_device_is_shown_with_its_streams(game_api: Caller, world: World, phone: Device) -> None:
    world.publish("device:phone")

    said = game_api.get(f"{DEVICES}/phone").json()

    assert (said["device"], said["backlog"], said["revoked_at"]) == ("phone", 1, None)
    assert [(one["stream"], one["backlog"]) for one in said["streams"]] == [
        ("device:phone", 1),
        ("room:lobby", 0),
        ("user:ann", 0),
    ]


def test_a_fresh_token_stands_beside_the_old_one(game_api: Caller, phone: Device, phone_api: Caller) -> None:
    answer = game_api.post(f"{DEVICES}/phone/token")

    assert answer.status_code == 201
    assert Caller(answer.json()["token"]).get("/api/v1/me").status_code == 200
    assert phone_api.get("/api/v1/me").status_code == 200


def test_a_revoked_device_is_out_and_its_connections_hear_of_it(
    game_api: Caller, phone: Device, phone_api: Caller, announced: list[Effects]
) -> None:
    first = game_api.post(f"{DEVICES}/phone/revoke")
    again = game_api.post(f"{DEVICES}/phone/revoke")

    assert first.json()["device"] == "phone"
    assert first.json() == again.json()
    assert problem(phone_api.get("/api/v1/me")) == (403, "device_revoked")
    assert problem(game_api.post(f"{DEVICES}/phone/token")) == (403, "device_revoked")
    assert [effects.devices for effects in announced] == [[phone.pk]]


@pytest.mark.parametrize("name", ["nobody", "a b", "%00", "x" * 300])
def test_a_device_that_is_not_there_is_unknown(game_api: Caller, name: str) -> None:
    assert problem(game_api.get(f"{DEVICES}/{name}")) == (404, "unknown_device")
