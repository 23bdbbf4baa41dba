from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from apps_registry.models import Delivery, Device, MessageType
from messaging.log.append import Stored
from messaging.log.effects import Effects
from messaging.models import LatestValue, Message, Stream
from messaging.protocol.errors import ProtocolError
from tests.conftest import World


def codes(placed: list[Any]) -> list[Any]:
    return [one.code.name if isinstance(one, ProtocolError) else one for one in placed]


def test_offsets_of_a_stream_are_dense_from_one(world: World, phone: Device, tablet: Device) -> None:
    places = [world.publish("device:phone"), world.publish("device:tablet"), world.publish("device:phone")]

    assert [place.offset for place in places] == [1, 1, 2]
    assert Stream.objects.get(name="device:phone").head == 2


def test_a_room_message_is_one_row_however_many_members_read_it(world: World, phone: Device, tablet: Device) -> None:
    world.publish("room:lobby", "gift", '{"what":"rose"}')

    assert Message.objects.count() == 1


def test_one_message_for_several_streams_has_a_place_in_each(world: World, phone: Device, tablet: Device) -> None:
    places = world.publish_all(world.publication(["device:phone", "user:ann", "device:nobody"]))[0]

    assert codes(places) == [
        Stored("device:phone", offset=1),
        Stored("user:ann", offset=1),
        "unknown_device",
    ]


def test_one_bad_message_does_not_sink_the_others(world: World, phone: Device) -> None:
    placed = world.publish_all(
        world.publication("device:phone", "unheard-of"),
        world.publication("phone"),
        world.publication("device:phone"),
    )

    assert [codes(one) for one in placed] == [["unknown_name"], ["unknown_stream"], [Stored("device:phone", offset=1)]]


def test_a_room_is_made_by_the_first_message(world: World) -> None:
    assert world.publish("room:new").offset == 1
    assert Stream.objects.get(name="room:new").kind == "room"


def test_a_device_of_another_app_is_unknown(world: World, stranger: Device) -> None:
    placed = world.publish_all(world.publication("device:phone"))

    assert codes(placed[0]) == ["unknown_device"]
    assert Message.objects.count() == 0


def test_a_repeated_id_gets_the_offset_of_the_first_time(world: World, phone: Device) -> None:
    first = world.publish("device:phone", dedup_id="order-7")
    again = world.publish("device:phone", dedup_id="order-7")
    within = world.publish_all(
        world.publication("device:phone", dedup_id="order-8"), world.publication("device:phone", dedup_id="order-8")
    )

    assert (first.offset, again.offset) == (1, 1)
    assert [places[0].offset for places in within] == [2, 2]  # type: ignore[union-attr]
    assert Message.objects.count() == 2


def test_a_repeated_id_with_another_body_is_refused(world: World, phone: Device) -> None:
    world.publish("device:phone", payload="1", dedup_id="order-7")

    placed = world.publish_all(world.publication("device:phone", payload="2", dedup_id="order-7"))

    assert codes(placed[0]) == ["id_mismatch"]


def test_a_latest_message_replaces_the_value_of_its_key(world: World, phone: Device) -> None:
    places = [
        world.publish("device:phone", "weather", '"rain"', key="berlin"),
        world.publish("device:phone", "weather", '"sun"', key="rome"),
        world.publish("device:phone", "weather", '"snow"', key="berlin"),
    ]

    assert [place.version for place in places] == [1, 2, 3]
    values = LatestValue.objects.order_by("key").values_list("key", "version", "revision", "payload")
    assert list(values) == [("berlin", 3, 2, '"snow"'), ("rome", 2, 1, '"sun"')]
    assert Message.objects.count() == 0


def test_two_updates_of_a_key_in_one_batch_count_twice(world: World, phone: Device) -> None:
    world.publish_all(*[world.publication("device:phone", "weather", str(n), key="berlin") for n in range(3)])

    assert list(LatestValue.objects.values_list("version", "revision", "payload")) == [(3, 3, "2")]


def test_a_transient_message_leaves_no_trace_in_the_database(world: World, phone: Device) -> None:
    effects = Effects()

    placed = world.publish_all(
        world.publication("device:phone", "chat", '"hi"'), world.publication("room:empty", "chat"), effects=effects
    )

    assert [codes(one) for one in placed] == [[Stored("device:phone")], [Stored("room:empty")]]
    assert (Message.objects.count(), LatestValue.objects.count()) == (0, 0)
    assert not Stream.objects.filter(name="room:empty").exists()
    assert len(effects.passing) == 1


def test_the_next_publish_follows_a_changed_class(world: World, phone: Device) -> None:
    before = world.publish("device:phone", "turn")
    MessageType.objects.filter(name="turn").update(delivery=Delivery.LATEST)
    after = world.publish("device:phone", "turn")

    assert (before.offset, before.version) == (1, None)
    assert (after.offset, after.version) == (None, 1)
    assert Message.objects.count() == 1


def test_a_closed_stream_takes_nothing(world: World, phone: Device) -> None:
    Stream.objects.filter(name="room:lobby").update(closed_at="2026-01-01T00:00:00Z")

    assert codes(world.publish_all(world.publication("room:lobby"))[0]) == ["stream_closed"]


def test_a_repeated_id_finds_its_offset_in_a_closed_stream_too(world: World, phone: Device) -> None:
    before = world.publish_all(world.publication("room:lobby", dedup_id="last-word"))[0]
    Stream.objects.filter(name="room:lobby").update(closed_at="2026-01-01T00:00:00Z")

    again, new, changed, value = world.publish_all(
        world.publication("room:lobby", dedup_id="last-word"),
        world.publication("room:lobby", dedup_id="another"),
        world.publication("room:lobby", dedup_id="last-word", payload="2"),
        world.publication("room:lobby", name="weather", dedup_id="last-word"),
    )

    assert again == before
    assert [codes(places) for places in (new, changed, value)] == [
        ["stream_closed"],
        ["id_mismatch"],
        ["stream_closed"],
    ]


def test_what_was_rolled_back_never_had_an_offset(world: World, phone: Device) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        world.publish("device:phone")
        raise RuntimeError

    assert world.publish("device:phone").offset == 1


def test_a_batch_costs_a_fixed_number_of_statements(
    world: World, phone: Device, django_assert_num_queries: Any
) -> None:
    publications = [world.publication("device:phone", payload=str(n)) for n in range(500)]
    statements = 6  # SQLite counts what it stores, PostgreSQL is asked the time

    with transaction.atomic(), django_assert_num_queries(statements + 2):  # and the savepoint around them
        world.publish_all(*publications)

    assert Message.objects.count() == 500


def test_the_log_refuses_an_offset_twice(world: World, phone: Device) -> None:
    world.publish("device:phone")
    message = Message.objects.get()

    with pytest.raises(IntegrityError), transaction.atomic():
        Message.objects.create(
            stream=message.stream,
            offset=1,
            type=message.type,
            published_at=message.published_at,
            expires_at=message.expires_at,
            payload="2",
        )


def test_the_ttl_of_the_message_goes_before_that_of_its_type(world: World, phone: Device) -> None:
    MessageType.objects.filter(name="turn").update(ttl_seconds=60)
    world.publish("device:phone")
    world.publish("device:phone", ttl=5)

    lives = [(m.expires_at - m.published_at).total_seconds() for m in Message.objects.order_by("offset")]
    assert lives == [60, 5]
