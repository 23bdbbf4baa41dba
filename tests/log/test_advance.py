from __future__ import annotations

import pytest
from django.db import transaction

from apps_registry.models import Device, MessageType, Service
from messaging.log import cursors, retention
from messaging.log.cursors import Receipt, Report, Saved
from messaging.log.effects import Advanced, Effects
from messaging.models import Feed, Message, Result, Subscription
from messaging.protocol.errors import ProtocolError
from messaging.protocol.rules import Segment
from tests.conftest import World


def advance(*reports: Report, effects: Effects | None = None) -> list[Saved | ProtocolError]:
    with transaction.atomic():
        return cursors.advance(reports, effects if effects is not None else Effects())


def feed(service: Service) -> list[tuple[object, ...]]:
    rows = Result.objects.filter(service=service).order_by("position")
    return list(rows.values_list("position", "stream__name", "from_offset", "upto", "status", "code"))


@pytest.fixture
def three(world: World, phone: Device) -> None:
    for _ in range(3):
        world.publish("device:phone")


def test_results_move_both_cursors_and_reach_the_publisher(world: World, phone: Device, three: None) -> None:
    effects = Effects()

    saved = advance(Report(phone.pk, "device:phone", 2), effects=effects)

    entry = world.entry(phone)
    assert saved == [Saved("device:phone", 2)]
    assert (entry.processed, entry.received, entry.head) == (2, 2, 3)
    assert feed(world.game) == [(1, "device:phone", 1, 2, "processed", "")]
    assert effects.advanced == [Advanced(phone.pk, entry.stream_id, 2)]


def test_the_same_results_again_count_nothing_twice(world: World, phone: Device, three: None) -> None:
    first = advance(Report(phone.pk, "device:phone", 2))
    again = advance(Report(phone.pk, "device:phone", 2), Report(phone.pk, "device:phone", 1))

    assert first == [Saved("device:phone", 2)]
    assert again == [Saved("device:phone", 2), Saved("device:phone", 2)]
    assert len(feed(world.game)) == 1


def test_a_failed_message_stands_alone_in_the_feed(world: World, phone: Device, three: None) -> None:
    advance(Report(phone.pk, "device:phone", 3, special={2: Segment(2, 2, "failed", "KeyError", "no such door")}))

    assert feed(world.game) == [
        (1, "device:phone", 1, 1, "processed", ""),
        (2, "device:phone", 2, 2, "failed", "KeyError"),
        (3, "device:phone", 3, 3, "processed", ""),
    ]


def test_what_had_expired_when_its_result_came_is_a_gap_for_the_service(
    world: World, phone: Device, three: None
) -> None:
    world.publish("device:phone")
    # Past its time, and no cleanup has come by yet: the device may have been told of a gap.
    Message.objects.filter(offset__in=[2, 3, 4]).update(expires_at="2020-01-01T00:00:00Z")

    saved = advance(Report(phone.pk, "device:phone", 4, special={4: Segment(4, 4, "failed", "KeyError")}))

    assert saved == [Saved("device:phone", 4)]
    assert feed(world.game) == [
        (1, "device:phone", 1, 1, "processed", ""),
        (2, "device:phone", 2, 3, "gap", "expired"),
        (3, "device:phone", 4, 4, "failed", "KeyError"),
    ]


def test_a_value_reaches_the_service(world: World, phone: Device, three: None) -> None:
    advance(Report(phone.pk, "device:phone", 3, special={3: Segment(3, 3, value='{"seat":12}')}))

    assert list(Result.objects.order_by("position").values_list("from_offset", "upto", "value")) == [
        (1, 2, None),
        (3, 3, '{"seat":12}'),
    ]


def test_each_service_hears_of_its_own_messages_only(world: World, phone: Device) -> None:
    for service in (world.game, world.weather, world.game, world.game):
        world.publish_all(world.publication("device:phone", service=service))

    advance(Report(phone.pk, "device:phone", 4))

    assert feed(world.game) == [
        (1, "device:phone", 1, 1, "processed", ""),
        (2, "device:phone", 3, 4, "processed", ""),
    ]
    assert feed(world.weather) == [(1, "device:phone", 2, 2, "processed", "")]


def test_the_services_named_by_the_type_hear_instead_of_the_publisher(world: World, phone: Device) -> None:
    MessageType.objects.get(name="gift").report_to.set([world.weather])
    world.publish("device:phone", "gift")

    advance(Report(phone.pk, "device:phone", 1))

    assert (feed(world.game), len(feed(world.weather))) == ([], 1)


def test_above_the_head_counts_as_the_head(world: World, phone: Device, three: None) -> None:
    assert advance(Report(phone.pk, "device:phone", 99)) == [Saved("device:phone", 3)]


def test_another_epoch_is_refused(world: World, phone: Device, three: None) -> None:
    (refused,) = advance(Report(phone.pk, "device:phone", 3, epoch="0123456789abcdef"))

    assert isinstance(refused, ProtocolError)
    assert refused.code.name == "epoch_changed"
    assert world.entry(phone).processed == 0


def test_an_exception_above_upto_is_refused_whole(world: World, phone: Device, three: None) -> None:
    (refused,) = advance(Report(phone.pk, "device:phone", 1, special={2: Segment(2, 2, "failed")}))

    assert isinstance(refused, ProtocolError)
    assert refused.code.name == "invalid"
    assert world.entry(phone).processed == 0


def test_a_stream_of_somebody_else_is_unknown(world: World, phone: Device, stranger: Device) -> None:
    refused = advance(Report(stranger.pk, "device:tablet", 1), Report(stranger.pk, "user:bob", 1))

    assert [one.code.name for one in refused if isinstance(one, ProtocolError)] == ["unknown_stream"] * 2


def test_many_reports_of_one_batch_are_one_range(world: World, phone: Device, three: None) -> None:
    saved = advance(*[Report(phone.pk, "device:phone", upto) for upto in (1, 2, 3)])

    assert [one.processed for one in saved if isinstance(one, Saved)] == [1, 2, 3]
    assert sum(upto - first + 1 for _, _, first, upto, _, _ in feed(world.game)) == 3  # type: ignore[operator]


def test_feeds_of_devices_are_dense(world: World, phone: Device, tablet: Device) -> None:
    world.publish("user:ann")

    advance(Report(phone.pk, "user:ann", 1), Report(tablet.pk, "user:ann", 1))

    assert [row[0] for row in feed(world.game)] == [1, 2]
    assert Feed.objects.get().head == 2


def test_a_receipt_moves_received_alone(world: World, phone: Device, three: None) -> None:
    entry = world.entry(phone)

    with transaction.atomic():
        cursors.receive([Receipt(entry.subscription_id, upto=2), Receipt(entry.subscription_id, upto=1)])

    assert (world.entry(phone).received, world.entry(phone).processed) == (2, 0)
    assert Result.objects.count() == 0


def test_a_receipt_above_the_head_counts_as_the_head(world: World, phone: Device, three: None) -> None:
    with transaction.atomic():
        cursors.receive([Receipt(world.entry(phone).subscription_id, upto=50, version=50)])

    assert (world.entry(phone).received, world.entry(phone).latest_received) == (3, 0)


def test_of_a_type_that_requires_no_result_only_what_went_wrong_is_told(world: World, phone: Device) -> None:
    MessageType.objects.filter(name="gift").update(result_required=False)
    for name in ("turn", "gift", "turn", "gift", "gift"):
        world.publish("device:phone", name)
    special = {
        2: Segment(2, 2, value='"thanks"'),
        4: Segment(4, 4, "failed", "KeyError"),
        5: Segment(5, 5, "rejected", "full"),
    }

    saved = advance(Report(phone.pk, "device:phone", 5, special=special))

    assert saved == [Saved("device:phone", 5)]
    assert feed(world.game) == [
        (1, "device:phone", 1, 1, "processed", ""),
        (2, "device:phone", 3, 3, "processed", ""),
        (3, "device:phone", 4, 4, "failed", "KeyError"),
        (4, "device:phone", 5, 5, "rejected", "full"),
    ]
    assert Feed.objects.get(service=world.game).head == 4


def test_of_a_type_that_requires_no_result_what_expired_is_told(world: World, phone: Device) -> None:
    MessageType.objects.filter(name="gift").update(result_required=False)
    world.publish("device:phone", "gift")
    world.publish("device:phone", "gift")
    Message.objects.filter(offset=2).update(expires_at="2020-01-01T00:00:00Z")

    advance(Report(phone.pk, "device:phone", 2))

    assert feed(world.game) == [(1, "device:phone", 2, 2, "gap", "expired")]


def test_a_type_that_requires_no_result_and_names_services_tells_them_failures(world: World, phone: Device) -> None:
    gift = MessageType.objects.get(name="gift")
    gift.report_to.set([world.weather])
    MessageType.objects.filter(pk=gift.pk).update(result_required=False)
    world.publish("device:phone", "gift")
    world.publish("device:phone", "gift")

    advance(Report(phone.pk, "device:phone", 2, special={2: Segment(2, 2, "failed", "KeyError")}))

    assert (feed(world.game), feed(world.weather)) == ([], [(1, "device:phone", 2, 2, "failed", "KeyError")])


# --- on_failure: stop -------------------------------------------------------------------------------------------------


@pytest.fixture
def orders(world: World, phone: Device) -> None:
    """Six messages; the stream waits where 2, 3 or 5 fail."""
    MessageType.objects.create(app=world.app, name="order", delivery="every", on_failure="stop")
    for name in ("turn", "order", "order", "turn", "order", "turn"):
        world.publish("device:phone", name)


def stopped_at(device: Device) -> int | None:
    return Subscription.objects.get(device=device, stream__name="device:phone").stopped_at


def failed(*offsets: int, status: str = "failed") -> dict[int, Segment]:
    return {offset: Segment(offset, offset, status, "KeyError") for offset in offsets}


def test_a_failure_of_a_type_that_stops_holds_the_cursor_before_it(world: World, phone: Device, orders: None) -> None:
    effects = Effects()

    saved = advance(Report(phone.pk, "device:phone", 6, special=failed(3)), effects=effects)

    entry = world.entry(phone)
    assert saved == [Saved("device:phone", 2, stopped=3)]
    assert (entry.processed, stopped_at(phone)) == (2, 3)
    assert feed(world.game) == [
        (1, "device:phone", 1, 2, "processed", ""),
        (2, "device:phone", 3, 3, "failed", "KeyError"),
    ]
    assert effects.advanced == [Advanced(phone.pk, entry.stream_id, 2)]


def test_of_several_failures_the_first_that_stops_counts(world: World, phone: Device, orders: None) -> None:
    saved = advance(Report(phone.pk, "device:phone", 6, special=failed(1, 2, 3, 5)))

    assert saved == [Saved("device:phone", 1, stopped=2)]
    assert feed(world.game) == [
        (1, "device:phone", 1, 1, "failed", "KeyError"),
        (2, "device:phone", 2, 2, "failed", "KeyError"),
    ]


def test_the_first_message_of_a_stream_may_stop_it(world: World, phone: Device) -> None:
    MessageType.objects.filter(name="turn").update(on_failure="stop")
    world.publish("device:phone")

    assert advance(Report(phone.pk, "device:phone", 1, special=failed(1))) == [Saved("device:phone", 0, stopped=1)]
    assert feed(world.game) == [(1, "device:phone", 1, 1, "failed", "KeyError")]


def test_the_same_failure_again_tells_nothing_new(world: World, phone: Device, orders: None) -> None:
    report = Report(phone.pk, "device:phone", 3, special=failed(3))

    advance(report)
    again = advance(report, report)

    assert again == [Saved("device:phone", 2, stopped=3)] * 2
    assert len(feed(world.game)) == 2


def test_a_success_after_a_stop_is_told_and_the_stream_goes_on(world: World, phone: Device, orders: None) -> None:
    advance(Report(phone.pk, "device:phone", 3, special=failed(3)))

    saved = advance(Report(phone.pk, "device:phone", 4))

    assert saved == [Saved("device:phone", 4)]
    assert (world.entry(phone).processed, stopped_at(phone)) == (4, None)
    assert feed(world.game)[1:] == [
        (2, "device:phone", 3, 3, "failed", "KeyError"),
        (3, "device:phone", 3, 4, "processed", ""),
    ]


def test_a_stop_and_its_success_in_one_batch_are_both_told_in_order(world: World, phone: Device, orders: None) -> None:
    saved = advance(
        Report(phone.pk, "device:phone", 3, special=failed(3)),
        Report(phone.pk, "device:phone", 6, special=failed(5)),
    )

    assert saved == [Saved("device:phone", 2, stopped=3), Saved("device:phone", 4, stopped=5)]
    assert feed(world.game) == [
        (1, "device:phone", 1, 2, "processed", ""),
        (2, "device:phone", 3, 3, "failed", "KeyError"),
        (3, "device:phone", 3, 4, "processed", ""),
        (4, "device:phone", 5, 5, "failed", "KeyError"),
    ]
    assert stopped_at(phone) == 5


def test_a_rejection_does_not_stop(world: World, phone: Device, orders: None) -> None:
    assert advance(Report(phone.pk, "device:phone", 6, special=failed(3, status="rejected"))) == [
        Saved("device:phone", 6)
    ]
    assert stopped_at(phone) is None


def test_what_the_app_rejects_after_a_stop_goes_on(world: World, phone: Device, orders: None) -> None:
    advance(Report(phone.pk, "device:phone", 3, special=failed(3)))

    assert advance(Report(phone.pk, "device:phone", 3, special=failed(3, status="rejected"))) == [
        Saved("device:phone", 3)
    ]
    assert [row[4] for row in feed(world.game)] == ["processed", "failed", "rejected"]


def test_once_the_type_goes_on_so_does_the_stream_and_the_failure_is_not_told_twice(
    world: World, phone: Device, orders: None
) -> None:
    advance(Report(phone.pk, "device:phone", 3, special=failed(3)))
    MessageType.objects.filter(name="order").update(on_failure="continue")

    saved = advance(Report(phone.pk, "device:phone", 4, special=failed(3)))

    assert saved == [Saved("device:phone", 4)]
    assert stopped_at(phone) is None
    assert feed(world.game) == [
        (1, "device:phone", 1, 2, "processed", ""),
        (2, "device:phone", 3, 3, "failed", "KeyError"),
        (3, "device:phone", 4, 4, "processed", ""),
    ]


def test_a_message_past_its_time_stops_nothing(world: World, phone: Device, orders: None) -> None:
    Message.objects.filter(offset=3).update(expires_at="2020-01-01T00:00:00Z")

    assert advance(Report(phone.pk, "device:phone", 3, special=failed(3))) == [Saved("device:phone", 3)]


def test_what_was_purged_at_a_stop_lets_the_stream_go_on(world: World, phone: Device, orders: None) -> None:
    advance(Report(phone.pk, "device:phone", 3, special=failed(3)))
    retention.purge(stream_id=world.entry(phone).stream_id, upto=3, effects=Effects())

    saved = advance(Report(phone.pk, "device:phone", 4))

    assert (saved, stopped_at(phone)) == ([Saved("device:phone", 4)], None)
    assert [row[2:5] for row in feed(world.game)] == [
        (1, 2, "processed"),
        (3, 3, "failed"),
        (3, 3, "gap"),
        (4, 4, "processed"),
    ]


def test_one_device_that_stops_in_a_room_stops_no_other(world: World, phone: Device, tablet: Device) -> None:
    MessageType.objects.filter(name="turn").update(on_failure="stop")
    world.publish("room:lobby")
    world.publish("room:lobby")

    saved = advance(
        Report(phone.pk, "room:lobby", 2, special=failed(1)),
        Report(tablet.pk, "room:lobby", 2),
    )

    assert saved == [Saved("room:lobby", 0, stopped=1), Saved("room:lobby", 2)]
    assert (world.entry(phone, "room:lobby").processed, world.entry(tablet, "room:lobby").processed) == (0, 2)


def test_a_success_after_a_stop_is_told_also_of_a_type_that_requires_no_result(
    world: World, phone: Device, orders: None
) -> None:
    MessageType.objects.update(result_required=False)
    advance(Report(phone.pk, "device:phone", 3, special=failed(3)))

    advance(Report(phone.pk, "device:phone", 6))

    assert feed(world.game) == [
        (1, "device:phone", 3, 3, "failed", "KeyError"),
        (2, "device:phone", 3, 3, "processed", ""),
    ]
