"""Presence, gaps and backlogs by webhook: each once, several in one POST."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import transaction

from apps_registry.models import Device
from messaging.log import backlog, presence, retention, whereabouts
from messaging.log.effects import Effects
from messaging.log.presence import NoticeGiven
from messaging.models import Stream
from messaging.protocol.errors import ProtocolError
from messaging.webhooks import control
from tests import comings
from tests.comings import enter
from tests.webhooks.conftest import Post
from tests.webhooks.receiver import Receiver

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def items(receiver: Receiver) -> list[dict[str, Any]]:
    """All that was told, without the moments."""
    found = [item for heard in receiver.heard for item in heard.event["data"]["items"]]
    assert all(MOMENT.fullmatch(item.pop("at")) for item in found)
    return found


def leave(device: Device) -> None:
    comings.leave(device)
    whereabouts.tell_due(Effects())


def test_who_came_is_told_once_and_in_one_post(post: Post, receiver: Receiver, tablet: Device) -> None:
    webhook = post.webhook(receiver, "presence")

    enter(post.phone)
    enter(tablet, state="background")
    post.deliver()
    post.deliver()

    (heard,) = receiver.heard
    said = heard.verified(webhook.secret)
    assert (said["type"], said["data"]["app"], said["data"]["service"]) == ("presence", "demo", "game")
    assert items(receiver) == [
        {"device": "phone", "state": "foreground"},
        {"device": "tablet", "state": "background"},
    ]


def test_who_is_back_within_the_leave_delay_was_never_gone(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver, "presence")
    enter(post.phone)
    post.deliver()
    receiver.heard.clear()

    leave(post.phone)
    post.deliver()
    enter(post.phone)
    post.deliver()

    assert receiver.heard == []


def test_who_stays_away_is_told_of_when_the_leave_delay_is_over(post: Post, receiver: Receiver, settings: Any) -> None:
    settings.MEANWHILE_LEAVE_DELAY = 0
    post.webhook(receiver, "presence")
    enter(post.phone)
    post.deliver()

    leave(post.phone)
    post.deliver()

    assert [item["state"] for item in items(receiver)] == ["foreground", "offline"]


def test_only_the_newest_state_is_told_of_what_changed_while_nobody_delivered(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver, "presence")
    enter(post.phone)
    for number, state in enumerate(["background", "foreground", "background"], 2):
        with transaction.atomic():
            presence.notice([NoticeGiven(post.phone.pk, state, number, 1)], Effects())

    post.deliver()

    assert items(receiver) == [{"device": "phone", "state": "background"}]


def test_a_stranger_is_not_told_of(post: Post, receiver: Receiver, stranger: Device) -> None:
    post.webhook(receiver, "presence", "gaps", "backlog")

    enter(stranger)
    post.deliver()

    assert receiver.heard == []


def test_a_gap_is_told(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver, "gaps")
    for _ in range(3):
        post.world.publish("device:phone")

    stream = Stream.objects.get(name="device:phone")
    retention.purge(stream_id=stream.pk, upto=2, effects=Effects())
    post.deliver()

    assert [heard.event["type"] for heard in receiver.heard] == ["gaps"]
    assert items(receiver) == [{"stream": "device:phone", "from": 1, "to": 2, "reason": "purged", "devices": 1}]


def test_a_gap_told_to_the_feed_is_told_with_the_results(post: Post, receiver: Receiver) -> None:
    """A purge is two things: a gap of the stream, and a result `gap` of the messages' publisher."""
    post.webhook(receiver, "gaps", "results")
    post.world.publish("device:phone")

    stream = Stream.objects.get(name="device:phone")
    retention.purge(stream_id=stream.pk, upto=1, effects=Effects())
    post.deliver()

    assert {heard.event["type"] for heard in receiver.heard} == {"gaps", "results"}


def test_a_backlog_above_the_soft_limit_is_told(post: Post, receiver: Receiver, settings: Any) -> None:
    settings.MEANWHILE_BACKLOG_SOFT = 2
    post.webhook(receiver, "backlog")
    for _ in range(3):
        post.world.publish("device:phone")

    backlog.watch()
    backlog.watch()
    post.deliver()

    assert [heard.event["type"] for heard in receiver.heard] == ["backlog"]
    assert items(receiver) == [{"device": "phone", "stream": "device:phone", "backlog": 3, "limit": 2}]


def test_a_ping_goes_the_same_way(post: Post, receiver: Receiver) -> None:
    webhook = post.webhook(receiver, "gaps")

    delivery = control.ping(webhook)
    post.deliver()

    (heard,) = receiver.heard
    said = heard.verified(webhook.secret)
    assert heard.id == delivery.message_id
    assert (said["type"], said["data"]) == ("ping", {"app": "demo", "service": "game", "webhook": webhook.public_id})


def test_no_more_pings_wait_than_other_deliveries_may(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messaging.webhooks.composing.MOST_OPEN", 2)
    webhook = control.create(service=post.world.game, url="https://game.example.com/", events=["gaps"])
    control.ping(webhook)
    control.ping(webhook)

    with pytest.raises(ProtocolError) as refused:
        control.ping(webhook)

    assert refused.value.code.name == "rate_limited"
