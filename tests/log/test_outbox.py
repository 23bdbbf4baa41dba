"""What webhooks are to hear of is written with the fact, and only where somebody wants to hear it."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from apps_registry import webhooks
from apps_registry.models import Device, Service, Webhook
from messaging.log import backlog, membership, outbox, presence, retention, sql, whereabouts
from messaging.log.effects import Effects
from messaging.log.presence import Arrival, NoticeGiven
from messaging.models import (
    FallenBehind,
    Message,
    Presence,
    Stream,
    Subscription,
    WebhookDelivery,
    WebhookEvent,
    WebhookPresence,
)
from tests.comings import enter, leave
from tests.conftest import World

URL = "https://game.example.com/hook"


def webhook(service: Service, *events: str) -> Webhook:
    return webhooks.create(service=service, url=URL, events=events, position=0)


def told(event: str) -> list[tuple[int, dict[str, Any]]]:
    """(webhook, item) of what was written, without the moment it bears."""
    rows = WebhookEvent.objects.filter(event=event).order_by("id")
    items = [(row.webhook_id, json.loads(row.item)) for row in rows]
    assert all(item.pop("at") for _, item in items)
    return items


def noted() -> list[tuple[int, int]]:
    """(webhook, device)"""
    return list(WebhookPresence.objects.order_by("webhook", "device").values_list("webhook", "device"))


def test_a_presence_that_is_told_is_noted_for_each_webhook_of_the_app_that_wants_it(
    world: World, phone: Device, stranger: Device
) -> None:
    wanting = [webhook(world.game, "presence"), webhook(world.weather, "gaps", "presence")]
    webhook(world.game, "results")
    webhook(Service.objects.create(app=stranger.app, name="abroad"), "presence")

    enter(phone)

    assert noted() == [(one.pk, phone.pk) for one in wanting]


def test_who_comes_and_goes_a_hundred_times_is_one_row(world: World, phone: Device, settings: Any) -> None:
    settings.MEANWHILE_LEAVE_DELAY = 0
    one = webhook(world.game, "presence")

    for _ in range(100):
        enter(phone)
        leave(phone)
        whereabouts.tell_due(Effects())

    assert noted() == [(one.pk, phone.pk)]


def test_within_the_leave_delay_nothing_is_noted(world: World, phone: Device) -> None:
    webhook(world.game, "presence")
    enter(phone)
    WebhookPresence.objects.all().delete()

    leave(phone)
    whereabouts.tell_due(Effects())
    enter(phone)

    assert noted() == []


def test_a_notice_is_noted_at_once(world: World, phone: Device) -> None:
    one = webhook(world.game, "presence")
    enter(phone)
    WebhookPresence.objects.all().delete()

    with transaction.atomic():
        presence.notice([NoticeGiven(phone.pk, "background", 2, 1)], Effects())

    assert noted() == [(one.pk, phone.pk)]


def test_an_app_without_such_a_webhook_pays_one_question_a_batch(world: World, phone: Device, tablet: Device) -> None:
    webhook(world.game, "results", "gaps", "backlog")

    with CaptureQueriesContext(connection) as asked, transaction.atomic():
        presence.enter([Arrival(one.pk, "foreground", 1, "pull", "n") for one in (phone, tablet)], Effects())

    assert len([query for query in asked.captured_queries if "webhook" in query["sql"]]) == 1


def test_a_webhook_that_is_switched_off_notes_nothing_and_makes_up_for_it_when_it_is_on_again(
    world: World, phone: Device, tablet: Device
) -> None:
    one = webhook(world.game, "presence")
    enter(phone)
    WebhookPresence.objects.all().delete()
    Presence.objects.update(told_at=sql.now() - timedelta(minutes=1))
    webhooks.disable(webhook=one, reason="for a test")
    since = one.disabled_at
    assert since

    enter(tablet, state="background")
    meanwhile = noted()
    with transaction.atomic():
        webhooks.enable(webhook=one)
        outbox.note_missed_presence(one.pk, since)

    assert (meanwhile, noted()) == ([], [(one.pk, tablet.pk)])


def test_what_is_rolled_back_is_not_told(world: World, phone: Device) -> None:
    webhook(world.game, "presence", "gaps")

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        presence.enter([Arrival(phone.pk, "foreground", 1, "pull", "n")], Effects())
        outbox.note_gaps([(Stream.objects.get(name="device:phone").pk, 1, 2, "purged", 1)])
        raise ZeroDivisionError

    assert not WebhookPresence.objects.exists()
    assert not WebhookEvent.objects.exists()


def test_a_gap_is_told_with_its_range_reason_and_how_many_miss_it(
    world: World, phone: Device, tablet: Device, stranger: Device
) -> None:
    one = webhook(world.game, "gaps")
    webhook(Service.objects.create(app=stranger.app, name="abroad"), "gaps")
    for _ in range(5):
        world.publish("room:lobby")
    room = Stream.objects.get(name="room:lobby", app=world.app)
    Subscription.objects.filter(stream=room, device=tablet).update(processed=5, received=5)

    retention.purge(stream_id=room.pk, upto=3, effects=Effects())

    gap = {"stream": "room:lobby", "from": 1, "to": 3, "reason": "purged", "devices": 1}
    assert told("gaps") == [(one.pk, gap)]


def test_what_expires_apart_is_one_item_per_unbroken_run(world: World, phone: Device) -> None:
    webhook(world.game, "gaps")
    for _ in range(4):
        world.publish("device:phone")
    past = sql.now() - timedelta(seconds=1)
    Message.objects.filter(offset__in=(1, 3, 4)).update(expires_at=past)

    retention.clean(Effects())

    assert [(item["from"], item["to"], item["reason"]) for _, item in told("gaps")] == [
        (1, 1, "expired"),
        (3, 4, "expired"),
    ]


def test_what_a_room_sheds_is_told(world: World, phone: Device) -> None:
    one = webhook(world.game, "gaps")
    world.app.room_rate = 1
    world.app.save()

    world.publish_all(*[world.publication("room:lobby") for _ in range(10)])

    ((hearer, item),) = told("gaps")
    assert hearer == one.pk
    assert (item["stream"], item["to"], item["reason"], item["devices"]) == ("room:lobby", 10, "shed", None)


@pytest.fixture
def soft(settings: Any) -> int:
    settings.MEANWHILE_BACKLOG_SOFT = 4
    return 4


def publish(world: World, count: int) -> None:
    for _ in range(count):
        world.publish("device:phone")


def process(device: Device, upto: int) -> None:
    Subscription.objects.filter(device=device, stream__kind="device").update(processed=upto, received=upto)


def test_a_backlog_is_told_once_when_it_passes_the_soft_limit(world: World, phone: Device, soft: int) -> None:
    one = webhook(world.game, "backlog")
    publish(world, 4)
    quiet = backlog.watch()

    publish(world, 1)
    rounds = [backlog.watch(), backlog.watch()]

    assert (quiet, rounds) == (0, [1, 0])
    item = {"device": "phone", "stream": "device:phone", "backlog": 5, "limit": 4}
    assert told("backlog") == [(one.pk, item)]


def test_a_backlog_is_told_again_only_after_it_was_down_to_half_the_limit(
    world: World, phone: Device, soft: int
) -> None:
    webhook(world.game, "backlog")
    publish(world, 5)
    backlog.watch()

    process(phone, 2)  # 3 left: more than half
    backlog.watch()
    publish(world, 2)  # 5 again
    still = backlog.watch()
    process(phone, 5)  # 2 left
    backlog.watch()
    publish(world, 3)  # 5 again
    again = backlog.watch()

    assert (still, again) == (0, 1)
    assert len(told("backlog")) == 2


def test_retention_by_command_looks_for_backlogs(world: World, phone: Device, soft: int) -> None:
    webhook(world.game, "backlog")
    publish(world, 5)

    call_command("clean", stdout=io.StringIO())

    assert len(told("backlog")) == 1


def test_who_leaves_the_stream_is_no_longer_behind(world: World, phone: Device, soft: int) -> None:
    publish(world, 5)
    backlog.watch()
    assert FallenBehind.objects.count() == 1

    membership.unsubscribe({(phone.pk, "device:phone")})
    backlog.watch()

    assert not FallenBehind.objects.exists()


def test_old_deliveries_go_by_their_state_and_age(
    world: World, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MEANWHILE_WEBHOOK_DEAD_KEPT = 30 * 86400
    one = webhook(world.game, "gaps")
    now = sql.now()

    def delivery(name: str, age: float, **moments: Any) -> None:
        at = now - timedelta(days=age)
        WebhookDelivery.objects.create(
            webhook=one, message_id=name, event="gaps", created_at=at, next_attempt_at=at, body="{}", **moments
        )

    delivery("delivered-new", 40, delivered_at=now - timedelta(hours=23))
    delivery("delivered-old", 2, delivered_at=now - timedelta(hours=25))
    delivery("dead-new", 33, failed_at=now - timedelta(days=29))
    delivery("dead-old", 33, failed_at=now - timedelta(days=31))
    delivery("open-new", 29)
    delivery("open-old", 31)

    retention.clean(Effects())

    assert set(WebhookDelivery.objects.values_list("message_id", flat=True)) == {
        "delivered-new",
        "dead-new",
        "open-new",
    }
    assert "1 events and deliveries of webhooks were never sent" in caplog.text


def test_what_was_written_for_a_webhook_that_is_gone_is_removed(world: World, phone: Device) -> None:
    one = webhook(world.game, "gaps", "presence")
    WebhookEvent.objects.create(webhook=one, event="gaps", item="{}", created_at=sql.now())
    WebhookPresence.objects.create(webhook=one, device=phone, noted_at=sql.now())
    Webhook.objects.filter(pk=one.pk)._raw_delete("default")

    retention.clean(Effects())

    assert not WebhookEvent.objects.exists()
    assert not WebhookPresence.objects.exists()
