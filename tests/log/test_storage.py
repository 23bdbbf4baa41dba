"""What an app has stored and may store: counted with what is stored and removed, refused beyond the limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import transaction
from pytest_django import Settings

from apps_registry.models import App, Delivery, Device, MessageType
from messaging.log import online, retention, storage
from messaging.log.append import Stored
from messaging.log.effects import Effects
from messaging.models import AppStorage, LatestValue, StorageChange, Stream
from messaging.protocol.errors import ProtocolError
from tests.comings import enter
from tests.conftest import World

MINE = "device:phone"
ROOM = "room:lobby"
LONG_AGO = "2020-01-01T00:00:00Z"


def text(size: int) -> str:
    """JSON text that takes so many bytes, with what a row costs."""
    return '"' + "x" * (size - storage.OVERHEAD - 2) + '"'


def add_up() -> int:
    with transaction.atomic():
        return storage.add_up()


@pytest.fixture
def limit(world: World) -> Callable[[int | None], None]:
    """Sets what the app may store; what it has stored until now is added up."""

    def set_limit(size: int | None) -> None:
        App.objects.filter(pk=world.app.pk).update(storage_limit=size)
        add_up()

    return set_limit


def outcomes(placed: list[list[Stored | ProtocolError]]) -> list[object]:
    return [
        one.code.name if isinstance(one, ProtocolError) else one.offset or one.version
        for places in placed
        for one in places
    ]


def test_a_message_counts_its_data_in_bytes_and_what_a_row_costs(world: World, phone: Device) -> None:
    world.publish(MINE, payload='"ab"')
    world.publish(MINE, payload='"äöü"')

    assert storage.used(world.app.pk) == 4 + 8 + 2 * storage.OVERHEAD


def test_a_message_to_many_streams_counts_in_each(world: World, phone: Device) -> None:
    world.publish([MINE, ROOM], payload=text(200))

    assert storage.used(world.app.pk) == 400


def test_transactions_only_add_rows_and_a_round_adds_them_up(world: World, phone: Device) -> None:
    for _ in range(3):
        world.publish(MINE, payload=text(200))
    before = (StorageChange.objects.count(), AppStorage.objects.count(), storage.used(world.app.pk))

    rounds = [add_up(), add_up()]

    assert before == (3, 0, 600)
    assert rounds == [3, 0]
    assert (AppStorage.objects.get().stored, storage.used(world.app.pk)) == (600, 600)
    assert not storage.due()


def test_a_value_counts_once_however_often_it_is_updated(world: World, phone: Device) -> None:
    for payload in (text(300), text(500), text(150)):
        world.publish(ROOM, "weather", payload, key="berlin")
    world.publish(ROOM, "weather", text(150), key="paris")
    world.publish_all(*[world.publication(ROOM, "weather", text(size), key="rome") for size in (900, 700)])

    assert storage.used(world.app.pk) == 150 + 150 + 700


def test_what_is_passing_and_what_is_repeated_costs_nothing(world: World, phone: Device) -> None:
    world.publish(ROOM, "chat")
    world.publish(MINE, payload=text(200), dedup_id="once")
    world.publish(MINE, payload=text(200), dedup_id="once")

    assert storage.used(world.app.pk) == 200


def test_beyond_the_limit_items_are_refused_and_others_are_not_sunk(
    world: World, phone: Device, limit: Callable[[int | None], None]
) -> None:
    limit(500)

    placed = world.publish_all(
        world.publication(MINE, payload=text(300)),
        world.publication(MINE, payload=text(300)),
        world.publication(MINE, payload=text(200)),
        world.publication(ROOM, "weather", text(110)),
        world.publication(ROOM, "chat"),
    )

    assert outcomes(placed) == [1, "storage_full", 2, "storage_full", None]
    assert Stream.objects.get(name=MINE).head == 2


def test_what_earlier_transactions_stored_counts(
    world: World, phone: Device, limit: Callable[[int | None], None]
) -> None:
    world.publish(MINE, payload=text(400))
    limit(600)

    assert outcomes(world.publish_all(world.publication(MINE, payload=text(201)))) == ["storage_full"]
    assert outcomes(world.publish_all(world.publication(MINE, payload=text(200)))) == [2]


def test_a_repeat_of_what_is_stored_is_answered_in_a_full_app(
    world: World, phone: Device, limit: Callable[[int | None], None]
) -> None:
    world.publish(MINE, payload=text(400), dedup_id="once")
    limit(400)

    assert outcomes(world.publish_all(world.publication(MINE, payload=text(400), dedup_id="once"))) == [1]


def test_in_a_full_app_a_value_may_be_replaced_by_one_that_is_no_larger(
    world: World, phone: Device, limit: Callable[[int | None], None]
) -> None:
    world.publish(ROOM, "weather", text(300), key="berlin")
    limit(300)

    same = world.publish_all(world.publication(ROOM, "weather", text(300), key="berlin"))
    larger = world.publish_all(world.publication(ROOM, "weather", text(301), key="berlin"))
    other = world.publish_all(world.publication(ROOM, "weather", text(110), key="paris"))
    smaller = world.publish_all(world.publication(ROOM, "weather", text(110), key="berlin"))
    add_up()
    room = world.publish_all(world.publication(ROOM, "weather", text(190), key="paris"))

    assert outcomes([*same, *larger, *other, *smaller, *room]) == [2, "storage_full", "storage_full", 3, 4]
    assert storage.used(world.app.pk) == 300


def test_what_is_removed_makes_room(
    world: World, phone: Device, tablet: Device, limit: Callable[[int | None], None]
) -> None:
    for _ in range(3):
        world.publish(ROOM, payload=text(200))
    world.publish(ROOM, "weather", text(300))
    limit(900)
    full = world.publish_all(world.publication(MINE, payload=text(200)))

    retention.purge(stream_id=Stream.objects.get(name=ROOM).pk, upto=2, effects=Effects())
    purged = storage.used(world.app.pk)
    LatestValue.objects.update(expires_at=LONG_AGO)
    retention.clean(Effects())

    assert outcomes(full) == ["storage_full"]
    assert (purged, storage.used(world.app.pk)) == (500, 200)
    assert outcomes(world.publish_all(world.publication(MINE, payload=text(200)))) == [1]


def test_what_everybody_has_processed_makes_room_when_it_is_cleaned(world: World, phone: Device) -> None:
    world.publish(MINE, payload=text(200))
    world.publish(MINE, payload=text(250))
    phone.subscriptions.filter(stream__name=MINE).update(received=1, processed=1)
    Stream.objects.get(name=MINE).messages.update(published_at=LONG_AGO)

    retention.clean(Effects())

    assert storage.used(world.app.pk) == 250


def test_the_limit_is_a_setting_where_the_app_says_nothing(
    world: World, phone: Device, settings: Settings, limit: Callable[[int | None], None]
) -> None:
    settings.MEANWHILE_APP_BYTES = 150

    def publish() -> list[object]:
        return outcomes(world.publish_all(world.publication(MINE, payload=text(200))))

    default = publish()
    limit(0)
    unbounded = publish()
    settings.MEANWHILE_APP_BYTES = 0
    limit(None)

    assert (default, unbounded, publish()) == (["storage_full"], [1], [2])


def test_another_app_is_not_touched(
    world: World, phone: Device, stranger: Device, limit: Callable[[int | None], None]
) -> None:
    limit(1)

    world.publish_all(world.publication(MINE, payload=text(200)))

    assert storage.used(stranger.app_id) == 0


def test_a_refused_count_of_who_is_on_line_is_not_taken_for_said(
    world: World, phone: Device, tablet: Device, limit: Callable[[int | None], None]
) -> None:
    MessageType.objects.create(app=world.app, name="room.online", delivery=Delivery.LATEST)
    limit(1)
    enter(phone)
    online.publish_due(Effects())
    limit(None)

    enter(tablet)
    effects = Effects()
    online.publish_due(effects)

    assert [value.payload for value in effects.values] == ['{"online":2}']
