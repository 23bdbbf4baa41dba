"""`PUT` and `DELETE /api/v1/me/streams/{stream}`: a device joins and leaves rooms without a socket."""

from __future__ import annotations

import pytest
from django.http import HttpResponse

from apps_registry.models import Device
from messaging.live.node import Node
from messaging.models import Stream, Subscription
from tests.api.callers import Caller, problem
from tests.conftest import World

LIVE = "room:live-1"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _may_join(node: Node, phone: Device) -> None:
    phone.rooms = ["room:live-*"]
    phone.save()


def join(caller: Caller, stream: str = LIVE) -> HttpResponse:
    return caller.put(f"/api/v1/me/streams/{stream}")


def leave(caller: Caller, stream: str = LIVE) -> HttpResponse:
    return caller.delete(f"/api/v1/me/streams/{stream}")


def test_a_device_joins_a_room_its_rights_allow_and_gets_what_is_published_from_now_on(
    world: World, phone_api: Caller
) -> None:
    world.publish(LIVE, "gift", "1")

    joined = join(phone_api)
    world.publish(LIVE, "gift", "2")

    assert joined.status_code == 200
    epoch = Stream.objects.get(name=LIVE).epoch
    assert joined.json() == {
        "stream": LIVE,
        "epoch": epoch,
        "processed": 1,
        "received": 1,
        "cut": 1,
        "head": 1,
        "tail": 1,
        "latest_received": 0,
    }
    page = phone_api.get("/api/v1/pending").json()
    assert [(one["stream"], one["offset"]) for one in page["messages"]] == [(LIVE, 2)]


def test_who_is_in_keeps_its_cursors(world: World, phone_api: Caller) -> None:
    join(phone_api)
    world.publish(LIVE, "gift")

    assert join(phone_api).json()["processed"] == 0


def test_a_room_that_is_not_among_the_rights_is_refused(phone: Device, phone_api: Caller) -> None:
    assert problem(join(phone_api, "room:vip")) == (403, "not_allowed")
    assert not Stream.objects.filter(name="room:vip").exists()


def test_the_rights_count_as_they_are_now(phone: Device, phone_api: Caller) -> None:
    Device.objects.filter(pk=phone.pk).update(rooms=[])

    assert problem(join(phone_api)) == (403, "not_allowed")


@pytest.mark.parametrize("stream", ["user:ann", "device:phone", "device:other"])
def test_only_rooms_are_joined_and_left(phone_api: Caller, stream: str) -> None:
    before = Subscription.objects.count()

    assert problem(join(phone_api, stream)) == (403, "not_allowed")
    assert problem(leave(phone_api, stream)) == (403, "not_allowed")
    assert Subscription.objects.count() == before


@pytest.mark.parametrize("stream", ["lobby", "room:", "room:a b"])
def test_what_cannot_be_a_stream_is_unknown(phone_api: Caller, stream: str) -> None:
    assert problem(join(phone_api, stream)) == (404, "unknown_stream")
    assert problem(leave(phone_api, stream)) == (404, "unknown_stream")


def test_who_left_is_told_nothing_more_and_may_leave_twice(world: World, phone_api: Caller) -> None:
    join(phone_api)

    answers = [leave(phone_api), leave(phone_api)]
    world.publish(LIVE, "gift")

    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b"")] * 2
    assert LIVE not in phone_api.get("/api/v1/pending").json()["streams"]


def test_a_device_leaves_a_room_a_service_put_it_into(phone: Device, phone_api: Caller) -> None:
    assert leave(phone_api, "room:lobby").status_code == 204

    assert not phone.subscriptions.filter(stream__name="room:lobby").exists()
