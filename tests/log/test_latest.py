from __future__ import annotations

from django.db import transaction

from apps_registry.models import Device
from messaging.log import cursors, reading
from messaging.log.cursors import Receipt
from tests.conftest import World


def unread(world: World, device: Device) -> list[tuple[str, int, int]]:
    """(key, version, updates it stands for)"""
    subscription = world.entry(device).subscription_id
    values = reading.unread_values([subscription])[subscription]
    return [(value.value.partition("/")[2], value.version, value.coalesced) for value in values]


def weather(world: World, *keys: str) -> None:
    for key in keys:
        world.publish("device:phone", "weather", '"x"', key=key)


def test_one_value_per_key_with_the_number_of_updates(world: World, phone: Device) -> None:
    weather(world, "berlin", "rome", "berlin", "berlin")

    assert unread(world, phone) == [("rome", 2, 1), ("berlin", 4, 3)]


def test_what_was_acknowledged_comes_again_only_when_it_changed(world: World, phone: Device) -> None:
    weather(world, "berlin", "rome")
    with transaction.atomic():
        cursors.receive([Receipt(world.entry(phone).subscription_id, version=2)])
    nothing = unread(world, phone)
    weather(world, "rome", "rome")

    assert nothing == []
    assert unread(world, phone) == [("rome", 4, 2)]


def test_a_value_past_its_time_is_not_told(world: World, phone: Device) -> None:
    from messaging.models import LatestValue

    weather(world, "berlin")
    LatestValue.objects.update(expires_at="2020-01-01T00:00:00Z")

    assert unread(world, phone) == []
