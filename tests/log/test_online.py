"""How many of a room are on line: counted after somebody came or went, published when it changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import transaction

from apps_registry.models import Delivery, Device, MessageType
from messaging.log import membership, online, presence
from messaging.log.effects import Effects
from messaging.log.presence import NoticeGiven, Polling
from messaging.models import LatestValue, OnlineDue, Presence, RoomOnline, Stream
from tests.comings import enter, leave
from tests.conftest import World

ROOM = "room:lobby"
LONG_AGO = "2020-01-01 00:00:00"


@pytest.fixture
def counting(world: World) -> MessageType:
    return MessageType.objects.create(app=world.app, name="room.online", delivery=Delivery.LATEST)


def delay_is_over(device: Device) -> None:
    """As if it had left long ago."""
    Presence.objects.filter(device=device).update(last_seen=LONG_AGO + "Z")
    OnlineDue.objects.update(due_at=LONG_AGO + "Z")


def counted() -> list[Any]:
    """What a round publishes."""
    effects = Effects()
    online.publish_due(effects)
    return [json.loads(value.payload)["online"] for value in effects.values if value.stream == ROOM]


@pytest.mark.usefixtures("counting")
def test_who_comes_is_counted(phone: Device, tablet: Device) -> None:
    enter(phone)
    first = counted()
    enter(tablet, state="background")

    assert (first, counted()) == ([1], [2])
    value = LatestValue.objects.get(stream__name=ROOM)
    assert (value.type.name, value.key, value.payload, value.service) == ("room.online", "", '{"online":2}', None)


@pytest.mark.usefixtures("counting")
def test_nothing_is_counted_where_nobody_came_or_went(phone: Device) -> None:
    enter(phone)
    counted()

    assert online.publish_due(Effects()) == 0


@pytest.mark.usefixtures("counting")
def test_who_is_back_within_the_delay_was_never_gone(phone: Device, tablet: Device) -> None:
    enter(phone, tablet)
    counted()

    leave(phone)
    at_once = counted()
    enter(phone)

    assert (at_once, counted()) == ([], [])


@pytest.mark.usefixtures("counting")
def test_who_stays_away_is_gone_after_the_delay(phone: Device, tablet: Device) -> None:
    enter(phone, tablet)
    counted()

    leave(phone)
    delay_is_over(phone)

    assert counted() == [1]


@pytest.mark.usefixtures("counting")
def test_somebody_who_comes_meanwhile_does_not_make_the_leaving_be_forgotten(phone: Device, tablet: Device) -> None:
    enter(phone)
    counted()
    leave(phone)

    enter(tablet)
    both = counted()
    delay_is_over(phone)

    assert both == [2]
    assert counted() == [1]


@pytest.mark.usefixtures("counting")
def test_a_lease_that_ran_out_counts_at_once(phone: Device) -> None:
    enter(phone)
    counted()

    Presence.objects.update(last_seen=LONG_AGO + "Z")
    presence.expire(Effects(), lease=60)

    assert counted() == [0]


@pytest.mark.usefixtures("counting")
def test_who_polls_is_on_line(phone: Device) -> None:
    with transaction.atomic():
        presence.poll([Polling(phone.pk)], Effects())

    assert counted() == [1]


@pytest.mark.usefixtures("counting")
def test_joining_and_leaving_a_room_count(world: World, phone: Device) -> None:
    enter(phone)
    counted()

    with transaction.atomic():
        membership.unsubscribe([(phone.pk, ROOM)])
    without = counted()
    with transaction.atomic():
        membership.subscribe([(world.app.pk, phone.pk, ROOM)])

    assert (without, counted()) == ([0], [1])


@pytest.mark.usefixtures("counting")
def test_who_is_put_into_a_room_when_it_had_just_gone_counts_no_more_after_the_delay(
    world: World, phone: Device, tablet: Device
) -> None:
    with transaction.atomic():
        membership.unsubscribe([(phone.pk, ROOM)])
    enter(phone)
    leave(phone)
    with transaction.atomic():
        membership.subscribe([(world.app.pk, phone.pk, ROOM)])

    enter(tablet)
    within = counted()
    delay_is_over(phone)

    assert (within, counted()) == ([2], [1])


@pytest.mark.usefixtures("counting")
def test_background_and_foreground_make_no_difference(phone: Device) -> None:
    enter(phone)
    counted()

    with transaction.atomic():
        presence.notice([NoticeGiven(phone.pk, "background", 2, 1)], Effects())

    assert online.publish_due(Effects()) == 0


@pytest.mark.usefixtures("counting")
def test_only_rooms_are_counted_and_only_of_the_app_that_asks(phone: Device, stranger: Device) -> None:
    enter(phone, stranger)

    counted()

    assert [value.stream.name for value in LatestValue.objects.all()] == [ROOM]
    assert LatestValue.objects.get().stream.app == phone.app


@pytest.mark.usefixtures("counting")
def test_a_closed_room_is_counted_no_more(phone: Device) -> None:
    enter(phone)
    Stream.objects.filter(name=ROOM).update(closed_at=LONG_AGO + "Z")

    assert counted() == []
    assert online.publish_due(Effects()) == 0


def test_without_the_type_nothing_is_kept(phone: Device) -> None:
    enter(phone)

    assert online.publish_due(Effects()) == 0
    assert not RoomOnline.objects.exists()
    assert not OnlineDue.objects.exists()


def test_a_type_of_another_delivery_publishes_nothing(counting: MessageType, phone: Device) -> None:
    enter(phone)
    MessageType.objects.filter(pk=counting.pk).update(delivery=Delivery.EVERY)

    assert counted() == []
    assert Stream.objects.get(name=ROOM).head == 0


@pytest.mark.usefixtures("counting")
def test_a_round_is_bounded(world: World) -> None:
    enter(world.device("walker", rooms=tuple(f"room:r{n}" for n in range(5))))

    assert [online.publish_due(Effects(), most=3) for _ in range(3)] == [3, 2, 0]
