"""A room under its app's rate: what is shed, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from apps_registry.models import Device, MessageType
from messaging.log import pending
from messaging.log.append import Stored
from messaging.log.effects import Effects
from messaging.log.pending import Asked
from messaging.models import Gap, LatestValue, Message, Stream
from tests.conftest import World

ROOM = "room:lobby"


@pytest.fixture
def limited(world: World) -> Callable[..., None]:
    """Sets the app's room rate, and priorities by type."""

    def limit(rate: int, **priorities: str) -> None:
        world.app.room_rate = rate
        world.app.save()
        for name, priority in priorities.items():
            MessageType.objects.filter(app=world.app, name=name).update(priority=priority)

    return limit


def told(placed: list[list[object]]) -> list[tuple[int | None, bool]]:
    return [(one.offset, one.shed) for (one,) in placed if isinstance(one, Stored)]


def test_without_a_rate_a_room_takes_everything(world: World, phone: Device) -> None:
    placed = world.publish_all(*[world.publication(ROOM, "gift") for _ in range(50)])

    assert told(placed) == [(offset, False) for offset in range(1, 51)]
    assert Stream.objects.get(name=ROOM).shed == 0


def test_low_ones_are_shed_first_and_control_commands_never(
    world: World, phone: Device, limited: Callable[..., None]
) -> None:
    limited(1, gift="low", turn="control")

    gifts = world.publish_all(*[world.publication(ROOM, "gift") for _ in range(3)])
    commands = world.publish_all(*[world.publication(ROOM, "turn") for _ in range(5)])

    assert told(gifts) == [(1, False), (2, True), (3, True)]
    assert told(commands) == [(offset, False) for offset in range(4, 9)]


def test_a_shed_message_has_its_offset_and_is_a_gap(world: World, phone: Device, limited: Callable[..., None]) -> None:
    limited(1)
    effects = Effects()

    world.publish_all(*[world.publication(ROOM, "gift", str(n)) for n in range(5)], effects=effects)
    page = pending.page(device_id=phone.pk, asked=Asked(limit=10, stream=ROOM))

    assert Stream.objects.get(name=ROOM).head == 5
    assert list(Message.objects.values_list("offset", flat=True)) == [1, 2]
    assert f'"gaps":[{{"stream":"{ROOM}","from":3,"to":5,"reason":"shed"}}]' in page.text
    assert [(one.head, [item.offset for item in one.items]) for one in effects.appended] == [(5, [1, 2])]


def test_a_flood_is_one_gap_however_many_publishes_it_comes_in(
    world: World, phone: Device, limited: Callable[..., None]
) -> None:
    limited(1, turn="control")

    for _ in range(6):
        world.publish(ROOM, "gift")
    world.publish(ROOM, "turn")
    world.publish(ROOM, "gift")

    gaps = list(Gap.objects.order_by("id").values_list("from_offset", "to_offset", "reason"))
    assert gaps == [(3, 6, "shed"), (8, 8, "shed")]
    assert Stream.objects.get(name=ROOM).shed == 5


def test_a_transient_message_that_is_shed_is_sent_to_nobody_and_counted(
    world: World, phone: Device, limited: Callable[..., None]
) -> None:
    limited(1, chat="low")
    effects = Effects()

    placed = world.publish_all(*[world.publication(ROOM, "chat") for _ in range(4)], effects=effects)

    assert told(placed) == [(None, False), (None, True), (None, True), (None, True)]
    assert len(effects.passing) == 1
    assert Stream.objects.get(name=ROOM).shed == 3
    assert not Gap.objects.exists()


def test_a_latest_value_is_never_shed(world: World, phone: Device, limited: Callable[..., None]) -> None:
    limited(1, weather="low")

    placed = world.publish_all(*[world.publication(ROOM, "weather", str(n)) for n in range(9)])

    assert [one.version for (one,) in placed if isinstance(one, Stored) and not one.shed] == list(range(1, 10))
    assert LatestValue.objects.get().payload == "8"


def test_devices_and_users_streams_have_no_rate(world: World, phone: Device, limited: Callable[..., None]) -> None:
    limited(1)

    placed = world.publish_all(*[world.publication("device:phone") for _ in range(9)])

    assert told(placed) == [(offset, False) for offset in range(1, 10)]


def test_a_repeat_of_a_shed_message_is_another_attempt(
    world: World, phone: Device, limited: Callable[..., None]
) -> None:
    limited(1)
    world.publish(ROOM, "gift")
    world.publish(ROOM, "gift")
    first = world.publish(ROOM, "gift", dedup_id="rose-1")
    Stream.objects.update(busy_until=0)

    again = world.publish(ROOM, "gift", dedup_id="rose-1")
    once_more = world.publish(ROOM, "gift", dedup_id="rose-1")

    assert (first.offset, first.shed) == (3, True)
    assert (again.offset, again.shed) == (4, False)
    assert once_more == Stored(ROOM, offset=4)
