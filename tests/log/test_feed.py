"""The services' feed: read in order, announced when it grew, refused for a position of another history."""

from __future__ import annotations

import pytest
from django.db import transaction

from apps_registry.models import Device
from messaging.log import cursors, feed, presence, retention
from messaging.log.cursors import Report
from messaging.log.effects import Effects
from messaging.log.presence import Arrival, Departure
from messaging.models import Presence, Stream
from messaging.protocol.errors import ProtocolError
from tests.conftest import World


def report(device: Device, upto: int) -> Effects:
    effects = Effects()
    with transaction.atomic():
        cursors.advance([Report(device.pk, "room:lobby", upto)], effects)
    return effects


def test_saved_results_announce_the_services_that_hear(world: World, phone: Device) -> None:
    world.publish("room:lobby")
    world.publish("room:lobby", service=world.weather)

    effects = report(phone, 2)

    assert sorted(effects.feeds) == [world.game.pk, world.weather.pk]
    assert [(one["position"], one["from"]) for one in feed.items(world.weather.pk, after=0, limit=9)] == [(1, 2)]


def test_the_same_results_again_announce_nothing(world: World, phone: Device) -> None:
    world.publish("room:lobby")
    report(phone, 1)

    assert report(phone, 1).feeds == []


def test_a_gap_announces_the_services_that_hear_of_it(world: World, phone: Device) -> None:
    world.publish("room:lobby")
    effects = Effects()
    with transaction.atomic():
        retention.purge(stream_id=Stream.objects.get(name="room:lobby").pk, upto=1, effects=effects)

    assert effects.feeds == [world.game.pk]
    assert [one["status"] for one in feed.items(world.game.pk, after=0, limit=9)] == ["gap"]


def test_a_position_beyond_the_feed_is_gone(world: World, phone: Device) -> None:
    world.publish("room:lobby")
    report(phone, 1)

    feed.check(world.game.pk, 1)
    with pytest.raises(ProtocolError) as refused:
        feed.check(world.game.pk, 2)
    assert (refused.value.code.name, refused.value.extra) == ("position_gone", {"head": 1})


def test_only_a_change_of_state_is_news_of_a_presence(world: World, phone: Device) -> None:
    def enter(state: str) -> Effects:
        effects = Effects()
        with transaction.atomic():
            presence.enter([Arrival(phone.pk, state, 1, "pull", "node-1")], effects)
        return effects

    first = enter("foreground")
    changed_at = Presence.objects.get(device=phone).changed_at
    again = enter("foreground")
    unchanged = Presence.objects.get(device=phone).changed_at
    gone = Effects()
    with transaction.atomic():
        presence.leave([Departure(phone.pk, 2)], gone)
        presence.leave([Departure(phone.pk, 2)], gone)

    assert (first.presences, again.presences, gone.presences) == ([world.app.pk], [], [])
    assert changed_at == unchanged
    assert changed_at < Presence.objects.get(device=phone).changed_at
