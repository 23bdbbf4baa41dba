from __future__ import annotations

import json
from datetime import timedelta

import pytest

from apps_registry.models import Device, MessageType
from messaging.log import reading, retention
from messaging.log.effects import Effects
from messaging.models import Message
from messaging.protocol import wire
from messaging.protocol.rules import Hole
from tests.conftest import World


def test_the_text_built_by_the_database_is_the_text_that_was_pushed(world: World, phone: Device) -> None:
    effects = Effects()
    world.publish_all(
        world.publication("device:phone", payload='{"a":"ü\\n\\"","b":[1,2.50]}'),
        world.publication("device:phone", payload="null"),
        effects=effects,
    )
    Message.objects.filter(offset=2).update(service=None)

    found = reading.read_range(world.entry(phone).stream_id, after=0, upto=2, limit=10)

    pushed = effects.appended[0].items
    assert found.items[0].text == pushed[0].text
    message = Message.objects.get(offset=2)
    assert found.items[1].text == wire.message_item(
        stream="device:phone",
        offset=2,
        name="turn",
        time=wire.instant(message.published_at),
        service=None,
        payload="null",
    )


def test_that_a_type_stops_its_stream_stands_in_what_is_pushed_and_in_what_is_read(world: World, phone: Device) -> None:
    MessageType.objects.filter(name="turn").update(on_failure="stop")
    effects = Effects()
    world.publish_all(world.publication("device:phone"), effects=effects)

    found = reading.read_range(world.entry(phone).stream_id, after=0, upto=1, limit=10)

    assert found.items[0].text == effects.appended[0].items[0].text
    assert json.loads("{" + found.items[0].text)["on_failure"] == "stop"


def test_a_range_ends_at_its_limit(world: World, phone: Device) -> None:
    for _ in range(5):
        world.publish("device:phone")

    found = reading.read_range(world.entry(phone).stream_id, after=1, upto=5, limit=2)

    assert ([item.offset for item in found.items], found.upto) == ([2, 3], 3)


def test_large_messages_are_read_a_share_at_a_time(
    world: World, phone: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BYTES", 2000)
    for size in (300, 900, 500, 10, 10):
        world.publish("device:phone", payload=f'"{"x" * (size - 2)}"')
    world.publish("room:lobby", payload=f'"{"x" * 3000}"')
    world.publish("room:lobby")
    own, room = world.entry(phone).stream_id, world.entry(phone, "room:lobby").stream_id

    found = reading.read_ranges([reading.Asked(own, 0, 5, 10), reading.Asked(room, 0, 2, 10)])
    following = reading.read_ranges([reading.Asked(own, 1, 5, 10), reading.Asked(room, 1, 2, 10)])

    assert [([item.offset for item in one.items], one.holes, one.upto) for one in found] == [([1], [], 1), ([1], [], 1)]
    assert [[item.offset for item in one.items] for one in following] == [[2, 3, 4, 5], [2]]


def test_what_is_past_its_time_is_a_hole_before_retention_has_been(world: World, phone: Device) -> None:
    for _ in range(4):
        world.publish("device:phone")
    Message.objects.filter(offset__in=[2, 3]).update(expires_at="2020-01-01T00:00:00Z")

    found = reading.read_range(world.entry(phone).stream_id, after=0, upto=4, limit=10)

    assert [item.offset for item in found.items] == [1, 4]
    assert found.holes == [Hole(2, 3, "expired")]


def test_a_recorded_gap_explains_its_part_of_a_hole(world: World, phone: Device) -> None:
    for _ in range(6):
        world.publish("device:phone")
    retention.purge(stream_id=world.entry(phone).stream_id, upto=2, effects=Effects())
    Message.objects.filter(offset=3).delete()

    found = reading.read_range(world.entry(phone).stream_id, after=0, upto=6, limit=10)

    assert found.holes == [Hole(1, 3, "purged")]
    assert [item.offset for item in found.items] == [4, 5, 6]


def test_entries_show_empty_streams_too(world: World, phone: Device) -> None:
    found = reading.entries([phone.pk])[phone.pk]

    assert [(entry.stream, entry.head, entry.tail) for entry in found] == [
        ("device:phone", 0, 1),
        ("room:lobby", 0, 1),
        ("user:ann", 0, 1),
    ]


def test_a_newcomer_starts_at_the_head(world: World, phone: Device) -> None:
    world.publish("room:lobby", "gift")
    late = world.device("late", rooms=("room:lobby",))

    entry = world.entry(late, "room:lobby")
    assert (entry.head, entry.processed, entry.received) == (1, 1, 1)


def test_times_are_those_of_the_database(world: World, phone: Device) -> None:
    world.publish("device:phone", ttl=60)

    message = Message.objects.get()
    assert message.expires_at - message.published_at == timedelta(seconds=60)
