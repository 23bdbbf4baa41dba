"""Where a newcomer begins: at the head, with the last so many, or since a moment; never before what is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from apps_registry.models import Device
from messaging.log import membership, pending, retention
from messaging.log.effects import Effects
from messaging.log.membership import History
from messaging.log.pending import Asked
from messaging.models import Message, Subscription
from tests.conftest import World

ROOM = "room:show"


@pytest.fixture
def show(world: World) -> World:
    """A room with ten gifts, a minute apart, the last one a minute ago."""
    for n in range(1, 11):
        world.publish(ROOM, "gift", str(n))
    now = datetime.now(UTC)
    for message in Message.objects.all():
        message.published_at = now - timedelta(minutes=11 - message.offset)
        message.save()
    return world


def join(world: World, device: Device, history: History | None) -> int:
    """After which offset it begins."""
    with transaction.atomic():
        membership.subscribe([(world.app.pk, device.pk, ROOM)], history)
    row = Subscription.objects.get(device=device, stream__name=ROOM)
    assert row.processed == row.received == row.joined_offset
    return row.processed


@pytest.mark.parametrize(
    ("history", "after"),
    [
        (None, 10),
        (History(last=0), 10),
        (History(last=3), 7),
        (History(last=10), 0),
        (History(last=1000), 0),
    ],
)
def test_the_last_so_many(show: World, phone: Device, history: History | None, after: int) -> None:
    assert join(show, phone, history) == after


@pytest.mark.parametrize(("minutes", "after"), [(0, 10), (2.5, 8), (5.5, 5), (600, 0)])
def test_what_came_since_a_moment(show: World, phone: Device, minutes: float, after: int) -> None:
    since = datetime.now(UTC) - timedelta(minutes=minutes)

    assert join(show, phone, History(since=since)) == after


@pytest.mark.parametrize("history", [History(last=8), History(since=datetime(2020, 1, 1, tzinfo=UTC))])
def test_never_before_what_is_stored(show: World, phone: Device, history: History) -> None:
    stream = Message.objects.latest("offset").stream
    retention.purge(stream_id=stream.pk, upto=6, effects=Effects())

    after = join(show, phone, history)
    page = pending.page(device_id=phone.pk, asked=Asked(limit=50, stream=ROOM))

    assert after == 6
    assert page.text.count('"name":"gift"') == 4
    assert '"gaps":[]' in page.text


def test_who_is_in_keeps_its_place(show: World, phone: Device) -> None:
    join(show, phone, History(last=2))

    assert join(show, phone, History(last=9)) == 8


def test_an_empty_room_has_no_past(world: World, phone: Device) -> None:
    assert join(world, phone, History(last=5)) == 0
    assert join(world, phone, History(since=datetime(2020, 1, 1, tzinfo=UTC))) == 0
