"""`/api/v1/streams`: look, members in and out, purge, close."""

from __future__ import annotations

from typing import Any

import pytest

from apps_registry.models import Device
from messaging.live import node as live_node
from messaging.log.effects import Effects
from messaging.models import Stream, Subscription
from tests.api.callers import Caller, problem
from tests.conftest import World

STREAMS = "/api/v1/streams"


@pytest.fixture(autouse=True)
def _somebody(game_api: Caller, phone: Device) -> None:
    """A node and a phone."""


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[Effects]:
    told: list[Effects] = []
    monkeypatch.setattr(live_node, "announce", told.append)
    return told


def test_streams_are_listed_by_name(game_api: Caller, stranger: Device) -> None:
    items = game_api.get(STREAMS).json()["items"]

    assert [(one["stream"], one["kind"], one["members"]) for one in items] == [
        ("device:phone", "device", 1),
        ("room:lobby", "room", 1),
        ("user:ann", "user", 1),
    ]
    assert [one["stream"] for one in game_api.get(STREAMS, kind="room").json()["items"]] == ["room:lobby"]
    assert problem(game_api.get(STREAMS, kind="galaxy")) == (400, "invalid")


def test_a_stream_is_shown_with_its_ends(game_api: Caller, world: World, phone: Device) -> None:
    world.publish("room:lobby")
    world.publish("room:lobby")

    said = game_api.get(f"{STREAMS}/room:lobby").json()

    assert (said["head"], said["tail"], said["members"], said["closed_at"]) == (2, 1, 1, None)
    assert said["epoch"] == world.entry(phone, "room:lobby").epoch


def test_a_name_may_come_percent_encoded(game_api: Caller) -> None:
    assert game_api.get(f"{STREAMS}/room%3Alobby").json()["stream"] == "room:lobby"


@pytest.mark.parametrize("name", ["room:nowhere", "lobby", "planet:x", "room:%00"])
def test_a_stream_that_is_not_there_is_unknown(game_api: Caller, name: str) -> None:
    assert problem(game_api.get(f"{STREAMS}/{name}")) == (404, "unknown_stream")


def test_a_member_gets_what_is_published_from_now_on(
    game_api: Caller, world: World, phone: Device, announced: list[Effects]
) -> None:
    world.publish("room:arena")

    first = game_api.put(f"{STREAMS}/room:arena/members/phone")
    world.publish("room:arena")
    again = game_api.put(f"{STREAMS}/room:arena/members/phone")

    assert (first.status_code, first.json()["device"], first.json()["stream"]) == (200, "phone", "room:arena")
    assert (first.json()["processed"], first.json()["head"]) == (1, 1)
    assert (again.json()["processed"], again.json()["head"]) == (1, 2)
    assert [effects.devices for effects in announced] == [[phone.pk], [phone.pk]]


def test_a_member_that_is_taken_out_gets_nothing_more(
    game_api: Caller, phone: Device, phone_api: Caller, announced: list[Effects]
) -> None:
    first = game_api.delete(f"{STREAMS}/room:lobby/members/phone")
    again = game_api.delete(f"{STREAMS}/room:lobby/members/phone")

    assert (first.status_code, first.content, again.status_code) == (204, b"", 204)
    assert not Subscription.objects.filter(stream__name="room:lobby").exists()
    assert problem(phone_api.get("/api/v1/pending", stream="room:lobby")) == (404, "unknown_stream")
    assert announced[0].devices == [phone.pk]


@pytest.mark.parametrize("stream", ["device:phone", "user:ann"])
def test_only_rooms_have_members_that_come_and_go(game_api: Caller, stream: str) -> None:
    assert problem(game_api.put(f"{STREAMS}/{stream}/members/phone")) == (400, "invalid")
    assert problem(game_api.delete(f"{STREAMS}/{stream}/members/phone")) == (400, "invalid")


def test_a_member_must_be_a_device_of_the_app(game_api: Caller) -> None:
    assert problem(game_api.put(f"{STREAMS}/room:arena/members/nobody")) == (404, "unknown_device")
    assert not Stream.objects.filter(name="room:arena").exists()


def test_a_purge_leaves_a_gap_for_who_was_away(
    game_api: Caller, world: World, phone_api: Caller, announced: list[Effects]
) -> None:
    for _ in range(3):
        world.publish("device:phone")

    answer = game_api.post(f"{STREAMS}/device:phone/purge", {"upto": 2})

    assert answer.json() == {"stream": "device:phone", "removed": 2, "head": 3, "tail": 3}
    pulled = phone_api.get("/api/v1/pending", stream="device:phone").json()
    assert pulled["gaps"] == [{"stream": "device:phone", "from": 1, "to": 2, "reason": "purged"}]
    assert [effects.streams for effects in announced] == [[Stream.objects.get(name="device:phone").pk]]


@pytest.mark.parametrize("body", [{}, {"upto": 0}, {"upto": -1}, {"upto": 2**53}, {"upto": "x"}, {"upto": None}, []])
def test_a_purge_needs_an_offset(game_api: Caller, world: World, body: Any) -> None:
    world.publish("device:phone")

    assert problem(game_api.post(f"{STREAMS}/device:phone/purge", body)) == (400, "invalid")
    assert Stream.objects.get(name="device:phone").tail == 1


def test_a_room_is_closed_once_and_for_good(game_api: Caller, world: World, announced: list[Effects]) -> None:
    world.publish("room:lobby")

    first = game_api.post(f"{STREAMS}/room:lobby/close")
    again = game_api.post(f"{STREAMS}/room:lobby/close")

    assert first.json()["head"] == 1
    assert first.json() == again.json()
    assert game_api.get(f"{STREAMS}/room:lobby").json()["closed_at"] == first.json()["closed_at"]
    assert [effects.streams for effects in announced] == [[Stream.objects.get(name="room:lobby").pk]]


def test_who_returns_to_a_closed_room_gets_the_rest(game_api: Caller, world: World, phone_api: Caller) -> None:
    world.publish("room:lobby")
    game_api.post(f"{STREAMS}/room:lobby/close")

    pulled = phone_api.get("/api/v1/pending", stream="room:lobby").json()

    assert [item["offset"] for item in pulled["messages"]] == [1]
    assert pulled["streams"]["room:lobby"]["closed"] is True


def test_only_rooms_are_closed(game_api: Caller) -> None:
    assert problem(game_api.post(f"{STREAMS}/device:phone/close")) == (400, "invalid")


@pytest.mark.parametrize("body", [{"last": 2}, {"since": "2020-01-01T00:00:00.000Z"}])
def test_a_newcomer_gets_of_the_past_what_is_asked_for(
    world: World, phone: Device, game_api: Caller, body: dict[str, Any]
) -> None:
    for _ in range(2):
        world.publish("room:show", "gift")

    answer = game_api.call("PUT", "/api/v1/streams/room:show/members/phone", body)

    assert (answer.status_code, answer.json()["processed"], answer.json()["cut"]) == (200, 0, 2)


@pytest.mark.parametrize(
    "body",
    [
        {"last": -1},
        {"last": "many"},
        {"last": None},
        {"since": "yesterday"},
        {"last": 1, "since": "2020-01-01T00:00Z"},
        [],
    ],
)
def test_a_past_that_makes_no_sense_is_refused(world: World, phone: Device, game_api: Caller, body: Any) -> None:
    refused = game_api.call("PUT", "/api/v1/streams/room:show/members/phone", body)

    assert problem(refused) == (400, "invalid")


def test_registering_may_say_how_much_of_its_rooms_past_a_device_gets(world: World, game_api: Caller) -> None:
    for _ in range(3):
        world.publish("room:show", "gift")

    game_api.post(
        "/api/v1/devices", {"device": "guest", "user": "ann", "streams": ["room:show"], "history": {"last": 1}}
    )
    streams = game_api.get("/api/v1/devices/guest").json()["streams"]

    assert {one["stream"]: one["backlog"] for one in streams} == {"device:guest": 0, "room:show": 1, "user:ann": 0}


class TestWhatNewcomersGetOfARoom:
    @pytest.fixture(autouse=True)
    def _five_messages(self, world: World) -> None:
        for _ in range(5):
            world.publish("room:arena")

    def begins(self, game_api: Caller, device: str, body: Any = None) -> int:
        """After which offset this newcomer begins."""
        answer = game_api.call("PUT", f"{STREAMS}/room:arena/members/{device}", body)
        assert answer.status_code == 200, answer.content
        processed: int = answer.json()["processed"]
        return processed

    def test_a_room_is_stated_and_made_if_it_is_missing(self, game_api: Caller) -> None:
        made = game_api.call("PUT", f"{STREAMS}/room:new", {"history": {"last": 3}})
        again = game_api.call("PUT", f"{STREAMS}/room:new", {"history": {"since": "2026-11-22T10:00:00Z"}})

        assert (made.status_code, again.status_code) == (201, 200)
        assert (made.json()["stream"], made.json()["history"]) == ("room:new", {"last": 3})
        assert again.json()["history"] == {"since": "2026-11-22T10:00:00.000Z"}
        assert game_api.get(f"{STREAMS}/room:new").json() == again.json()

    def test_what_is_not_told_becomes_the_default(self, game_api: Caller, world: World) -> None:
        game_api.call("PUT", f"{STREAMS}/room:arena", {"history": {"last": 2}})
        cleared = [game_api.call("PUT", f"{STREAMS}/room:arena", body).json() for body in ({}, {"history": None})]
        world.device("late")

        assert [one["history"] for one in cleared] == [None, None]
        assert [one["head"] for one in cleared] == [5, 5]
        assert self.begins(game_api, "late") == 5

    def test_a_newcomer_gets_what_the_room_says(self, game_api: Caller, world: World) -> None:
        game_api.call("PUT", f"{STREAMS}/room:arena", {"history": {"last": 2}})
        world.device("late")

        assert self.begins(game_api, "late") == 3

    def test_what_is_said_for_one_newcomer_counts_more(self, game_api: Caller, world: World) -> None:
        game_api.call("PUT", f"{STREAMS}/room:arena", {"history": {"last": 2}})
        for name in ("one", "two"):
            world.device(name)

        assert (self.begins(game_api, "one", {"last": 0}), self.begins(game_api, "two", {"last": 4})) == (5, 1)

    def test_since_a_moment_of_long_ago(self, game_api: Caller) -> None:
        """Moments are compared as text on SQLite, where year 999 would be after this one."""
        said = game_api.call("PUT", f"{STREAMS}/room:arena", {"history": {"since": "0999-01-01T00:00:00Z"}})
        entry = game_api.put(f"{STREAMS}/room:arena/members/phone").json()

        assert said.json()["history"] == {"since": "0999-01-01T00:00:00.000Z"}
        assert (entry["processed"], entry["head"]) == (0, 5)

    def test_since_a_moment_and_by_registering(self, game_api: Caller, world: World) -> None:
        room = Stream.objects.get(name="room:arena")
        room.messages.filter(offset__lte=3).update(published_at="2020-01-01T00:00:00Z")
        game_api.call("PUT", f"{STREAMS}/room:arena", {"history": {"since": "2021-01-01T00:00:00Z"}})

        game_api.post("/api/v1/devices", {"device": "late", "streams": ["room:arena", "room:other"]})

        cursors = Subscription.objects.filter(device__name="late").values_list("stream__name", "processed")
        assert dict(cursors) == {"device:late": 0, "room:arena": 3, "room:other": 0}

    def test_who_is_in_keeps_its_cursors(self, game_api: Caller, world: World) -> None:
        world.device("early", rooms=("room:arena",))
        game_api.call("PUT", f"{STREAMS}/room:arena", {"history": {"last": 2}})

        assert self.begins(game_api, "early") == 5

    @pytest.mark.parametrize(
        "body", [{"history": {"last": -1}}, {"history": {"last": 1, "since": "2020-01-01T00:00:00Z"}}, {"history": 5}]
    )
    def test_nonsense_is_refused(self, game_api: Caller, body: Any) -> None:
        assert problem(game_api.call("PUT", f"{STREAMS}/room:arena", body)) == (400, "invalid")

    @pytest.mark.parametrize("stream", ["device:phone", "user:ann"])
    def test_only_rooms_have_newcomers(self, game_api: Caller, stream: str) -> None:
        assert problem(game_api.call("PUT", f"{STREAMS}/{stream}", {"history": {"last": 1}})) == (400, "invalid")
