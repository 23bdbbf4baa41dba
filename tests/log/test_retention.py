from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from pytest_django import Settings

from apps_registry.models import Device
from messaging.log import cursors, gaps, membership, reading, retention, sql
from messaging.log.cursors import Report
from messaging.log.effects import Effects
from messaging.log.membership import History
from messaging.log.retention import Removed
from messaging.models import Gap, LatestReceipt, LatestValue, Message, Result, Stream, Subscription
from messaging.protocol.rules import runs
from tests.conftest import World
from tests.waiting import until


def processed(device: Device, stream: str, upto: int) -> None:
    with transaction.atomic():
        cursors.advance([Report(device.pk, stream, upto)], Effects())


@pytest.fixture
def gifts(world: World, phone: Device, tablet: Device) -> Stream:
    for _ in range(4):
        world.publish("room:lobby", "gift")
    return Stream.objects.get(name="room:lobby")


def test_what_everybody_processed_goes_quietly(
    world: World, phone: Device, tablet: Device, gifts: Stream, settings: Settings
) -> None:
    settings.MEANWHILE_GRACE = 0
    processed(phone, "room:lobby", 4)
    processed(tablet, "room:lobby", 2)

    removed = retention.clean_all(Effects())

    gifts.refresh_from_db()
    assert removed == Removed(processed=2)
    assert (gifts.tail, list(Message.objects.values_list("offset", flat=True))) == (3, [3, 4])
    assert Gap.objects.count() == 0


def test_the_grace_is_waited_for(world: World, phone: Device, tablet: Device, gifts: Stream) -> None:
    processed(phone, "room:lobby", 4)
    processed(tablet, "room:lobby", 4)

    assert not retention.clean_all(Effects())
    assert Message.objects.count() == 4


def test_expiry_leaves_a_gap_for_who_was_away_and_tells_the_service(
    world: World, phone: Device, tablet: Device, gifts: Stream
) -> None:
    processed(phone, "room:lobby", 4)
    Message.objects.filter(offset__lte=2).update(expires_at="2020-01-01T00:00:00Z")
    effects = Effects()

    removed = retention.clean_all(effects)

    gifts.refresh_from_db()
    assert removed == Removed(expired=2)
    assert list(Gap.objects.values_list("from_offset", "to_offset", "reason")) == [(1, 2, "expired")]
    assert gifts.tail == 3
    assert effects.streams == [gifts.pk]
    told = Result.objects.filter(status="gap").values_list("device__name", "from_offset", "upto", "code")
    assert list(told) == [("tablet", 1, 2, "expired")]


def test_expiry_of_what_everybody_has_leaves_no_gap(world: World, phone: Device, tablet: Device, gifts: Stream) -> None:
    processed(phone, "room:lobby", 4)
    processed(tablet, "room:lobby", 4)
    Message.objects.update(expires_at="2020-01-01T00:00:00Z")

    retention.clean_all(Effects())

    assert (Message.objects.count(), Gap.objects.count()) == (0, 0)


def test_an_old_gap_of_a_room_without_members_goes(world: World) -> None:
    world.publish("room:empty", "gift")
    room = Stream.objects.get(name="room:empty")
    gaps.record_shed([(room.pk, 2, 3)], at=sql.now() - timedelta(days=8))
    gaps.record_shed([(room.pk, 5, 5)], at=sql.now())
    Stream.objects.filter(pk=room.pk).update(head=5)

    retention.clean_all(Effects())
    beside_a_message = Gap.objects.count()
    Message.objects.update(expires_at="2020-01-01T00:00:00Z")
    retention.clean_all(Effects())

    assert (beside_a_message, list(Gap.objects.values_list("from_offset", flat=True))) == (2, [5])


def test_an_old_gap_stays_while_somebody_is_in_front_of_it(phone: Device, tablet: Device, gifts: Stream) -> None:
    gaps.record_shed([(gifts.pk, 5, 6)], at=sql.now() - timedelta(days=8))
    Message.objects.all().delete()
    Stream.objects.filter(pk=gifts.pk).update(head=6, tail=7)

    retention.clean_all(Effects())
    before = Gap.objects.count()
    processed(phone, "room:lobby", 6)
    processed(tablet, "room:lobby", 6)
    retention.clean_all(Effects())

    assert (before, Gap.objects.count()) == (1, 0)


def test_above_the_hard_limit_the_oldest_become_a_gap(
    world: World, phone: Device, tablet: Device, gifts: Stream, settings: Settings
) -> None:
    settings.MEANWHILE_BACKLOG_HARD = 3

    retention.clean_all(Effects())

    gifts.refresh_from_db()
    assert gifts.tail == 2
    assert list(Gap.objects.values_list("from_offset", "to_offset", "reason")) == [(1, 1, "overflow")]


def test_a_purge_is_a_gap_in_the_next_read(world: World, phone: Device, tablet: Device, gifts: Stream) -> None:
    assert retention.purge(stream_id=gifts.pk, upto=3, effects=Effects()) == 3

    found = reading.read_range(gifts.pk, after=0, upto=4, limit=10)
    assert ([item.offset for item in found.items], list(found.holes[0])) == ([4], [1, 3, "purged"])


def test_a_round_is_bounded(world: World, phone: Device, tablet: Device, gifts: Stream) -> None:
    Message.objects.update(expires_at="2020-01-01T00:00:00Z")

    removed = retention.clean(Effects(), limit=3)

    assert removed.expired == 3


def test_runs_are_unbroken() -> None:
    assert runs([1, 2, 3, 7, 9, 10]) == [(1, 3), (7, 7), (9, 10)]
    assert runs([]) == []


def test_the_command_removes_until_nothing_is_left(
    world: World, phone: Device, tablet: Device, gifts: Stream, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.MEANWHILE_GRACE = 0
    processed(phone, "room:lobby", 4)
    processed(tablet, "room:lobby", 3)

    call_command("clean")

    assert capsys.readouterr().out == "Removed: 3 processed by all, 0 expired, 0 of overflow.\n"
    assert list(Message.objects.values_list("offset", flat=True)) == [4]


def test_who_joins_with_history_while_a_round_is_under_way_loses_nothing(
    world: World, phone: Device, tablet: Device, gifts: Stream, settings: Settings
) -> None:
    """The round has read how far the slowest is; before it has the stream's lock, a newcomer begins further back."""
    settings.MEANWHILE_GRACE = 0
    processed(phone, "room:lobby", 4)
    processed(tablet, "room:lobby", 4)
    newcomer = world.device("newcomer")

    def join_before_the_lock(execute: Any, statement: str, *rest: Any) -> Any:
        if "SELECT s.id FROM messaging_stream s WHERE s.id" in statement and not Subscription.objects.filter(
            device=newcomer, stream=gifts
        ):
            membership.subscribe([(world.app.pk, newcomer.pk, gifts.name)], History(last=4))
        return execute(statement, *rest)

    with connection.execute_wrapper(join_before_the_lock):
        removed = retention.clean_all(Effects())

    assert removed == Removed()
    left = reading.read_range(gifts.pk, after=world.entry(newcomer, gifts.name).processed, upto=4, limit=10)
    assert ([item.offset for item in left.items], left.holes) == ([1, 2, 3, 4], [])


def test_a_stream_of_which_nothing_is_stored_is_not_looked_at_again(
    world: World, phone: Device, settings: Settings
) -> None:
    """Else a round, which looks at so many streams, would never come to those behind them."""
    room = Stream.objects.get(name="room:lobby")
    world.app.room_rate = 1
    world.app.save()
    world.publish_all(*[world.publication(room.name, "gift") for _ in range(5)])
    Message.objects.all().delete()
    processed(phone, room.name, 5)

    retention.clean_all(Effects())

    room.refresh_from_db()
    assert (room.tail, room.head, Gap.objects.count()) == (6, 5, 0)


def test_a_stream_that_is_long_by_what_was_shed_is_not_looked_at_again(
    world: World, phone: Device, settings: Settings
) -> None:
    settings.MEANWHILE_BACKLOG_HARD = 3
    room = Stream.objects.get(name="room:lobby")
    world.app.room_rate = 1
    world.app.save()
    world.publish_all(*[world.publication(room.name, "gift") for _ in range(7)])
    Message.objects.all().delete()

    removed = retention.clean_all(Effects())

    room.refresh_from_db()
    assert (removed, room.tail, room.head) == (Removed(), 8, 7)
    left = reading.read_range(room.pk, after=0, upto=7, limit=10)
    assert {hole.reason for hole in left.holes if hole.from_offset > 2} == {"shed"}


@pytest.mark.sqlite
def test_a_round_takes_as_long_as_what_it_removes_not_as_what_the_stream_holds(
    world: World, phone: Device, settings: Settings
) -> None:
    """SQLite had searched the whole stream for each message of a round, with the one writer's lock held for minutes."""
    settings.MEANWHILE_BACKLOG_HARD = 100

    def steps_of_a_round(held: int) -> int:
        """How many hundreds of the engine's instructions it takes to remove ten of so many."""
        world.publish_all(*[world.publication(f"room:of-{held}")] * held)
        hundreds = 0

        def count() -> int:
            nonlocal hundreds
            hundreds += 1
            return 0

        connection.connection.set_progress_handler(count, 100)
        removed = retention.clean(Effects(), limit=10)
        connection.connection.set_progress_handler(None, 0)
        assert removed.overflow == 10
        return hundreds

    few, many = steps_of_a_round(110), steps_of_a_round(10_000)

    assert many < 3 * few


@pytest.mark.django_db(transaction=True)
def test_a_value_that_is_renewed_while_it_is_cleaned_away_stays(world: World, phone: Device) -> None:
    """Both at once: the round has found it past its time, its service publishes it anew."""
    world.publish("device:phone", "weather", '"old"', key="berlin")
    LatestValue.objects.update(expires_at="2020-01-01T00:00:00Z")
    renewed, cleaned = threading.Event(), threading.Event()

    def renew() -> None:
        with transaction.atomic():
            world.publish("device:phone", "weather", '"new"', key="berlin")
            renewed.set()
            if sql.is_postgres():
                until(lambda: cleaned.is_set() or somebody_waits(), "the round is through, or waits for the value")
        connection.close()

    renewing = threading.Thread(target=renew)
    renewing.start()
    renewed.wait(30)
    retention.clean(Effects())
    cleaned.set()
    renewing.join(30)

    assert list(LatestValue.objects.values_list("key", "payload")) == [("berlin", '"new"')]


def somebody_waits() -> bool:
    """For a lock of this database."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(sql.run(waiting))


def test_values_past_their_time_go_with_their_receipts(world: World, phone: Device) -> None:
    world.publish("device:phone", "weather", '"old"', key="berlin")
    world.publish("device:phone", "weather", '"kept"', key="rome")
    with transaction.atomic():
        cursors.receive([cursors.Receipt(world.entry(phone).subscription_id, version=2)])
    LatestValue.objects.filter(key="berlin").update(expires_at="2020-01-01T00:00:00Z")

    retention.clean(Effects())

    assert list(LatestReceipt.objects.values_list("value__key", flat=True)) == ["rome"]
    assert list(LatestValue.objects.values_list("key", flat=True)) == ["rome"]
