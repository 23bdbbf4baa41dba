"""Results by webhook: the feed's items, complete, in order while the receiver answers."""

from __future__ import annotations

import random
from typing import Any

import pytest

from apps_registry import webhooks
from apps_registry.models import Webhook
from messaging.log import feed
from messaging.models import Result, WebhookDelivery
from messaging.protocol import wire
from messaging.protocol.errors import ProtocolError
from messaging.webhooks import composing, control
from tests.conftest import World
from tests.webhooks.conftest import Post
from tests.webhooks.receiver import Answering, Heard, Receiver, hang, reset


def positions(receiver: Receiver) -> list[int]:
    return [item["position"] for heard in receiver.heard for item in heard.event["data"]["items"]]


def test_a_post_has_exactly_the_items_of_the_feed(post: Post, receiver: Receiver) -> None:
    webhook = post.webhook(receiver)
    post.results(2, value='{"odd":"ü\\u2028"}')

    worker = post.deliver()

    (heard,) = receiver.heard
    said = heard.verified(webhook.secret)
    assert said["type"] == "results"
    items = feed.items(post.world.game.pk, after=0, limit=10)
    assert f'"items":{wire.dumps(items)}' in heard.body
    assert {name: said["data"][name] for name in ("app", "service", "after", "upto", "missing")} == {
        "app": "demo",
        "service": "game",
        "after": 0,
        "upto": 2,
        "missing": [],
    }
    assert (worker.delivered, worker.failed) == (1, 0)
    assert (heard.headers["content-type"], heard.headers["user-agent"]) == ("application/json", "Meanwhile")


def test_a_webhook_hears_from_now_on_or_from_where_it_says(post: Post, receiver: Receiver) -> None:
    post.results(3)
    post.webhook(receiver)
    control.create(service=post.world.game, url=receiver.url + "/from-1", events=["results"], after=1)

    post.results(1)
    post.deliver()

    told = {heard.path: [item["position"] for item in heard.event["data"]["items"]] for heard in receiver.heard}
    assert told == {"/hook": [4], "/hook/from-1": [2, 3, 4]}


def test_every_service_hears_its_own(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver, service=post.world.weather)
    post.results(1)

    post.deliver()

    assert receiver.heard == []


def test_many_go_a_hundred_at_a_time_and_in_order(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver)
    post.results(250)

    post.deliver()

    assert [len(heard.event["data"]["items"]) for heard in receiver.heard] == [100, 100, 50]
    assert [heard.event["data"]["after"] for heard in receiver.heard] == [0, 100, 200]
    assert positions(receiver) == list(range(1, 251))


def test_large_values_make_smaller_posts(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver)
    post.results(30, value=f'"{"x" * 60_000}"')

    post.deliver()

    assert max(len(heard.body) for heard in receiver.heard) < composing.MOST_BYTES + 1000
    assert positions(receiver) == list(range(1, 31))


def test_what_was_cleaned_from_the_feed_before_it_was_told_is_said_to_be_missing(
    post: Post, receiver: Receiver
) -> None:
    post.webhook(receiver)
    post.results(8)
    Result.objects.filter(position__in=(1, 2, 5)).delete()

    post.deliver()

    (heard,) = receiver.heard
    assert positions(receiver) == [3, 4, 6, 7, 8]
    assert heard.event["data"]["missing"] == [{"from": 1, "to": 2}, {"from": 5, "to": 5}]


def test_where_nothing_is_left_the_gap_goes_to_the_head(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver)
    post.results(8)
    Result.objects.all().delete()

    post.deliver()
    post.results(1)
    post.deliver()

    assert [heard.event["data"]["missing"] for heard in receiver.heard] == [[{"from": 1, "to": 8}], []]
    assert positions(receiver) == [9]


def test_a_receiver_that_is_down_stops_the_taking_and_loses_nothing(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composing, "MOST_OPEN", 3)
    monkeypatch.setattr("messaging.webhooks.claims.MOST_OPEN", 3)
    webhook = post.webhook(receiver)
    receiver.decide = lambda _: 503
    post.results(1000)

    post.deliver()
    webhook.refresh_from_db()
    meanwhile = (WebhookDelivery.objects.count(), webhook.position)
    receiver.decide = None
    receiver.heard.clear()
    post.later()
    post.deliver()

    assert meanwhile == (3, 300)
    assert sorted(positions(receiver)) == list(range(1, 1001))


def test_while_it_is_switched_off_the_feed_keeps_what_is_to_come(post: Post, receiver: Receiver) -> None:
    webhook = post.webhook(receiver)
    webhooks.disable(webhook=webhook, reason="for a test")
    post.results(2)

    post.deliver()
    silent = list(receiver.heard)
    control.enable(webhook)
    post.deliver()

    assert silent == []
    assert positions(receiver) == [1, 2]


def test_results_are_complete_over_every_kind_of_failure(
    post: Post, receiver: Receiver, patient: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the receiver said 2xx to is all of it; what was posted twice bears the same id and body."""
    dice = random.Random(7)
    patient(0.3)
    post.webhook(receiver)
    kept: dict[str, str] = {}

    def decide(heard: Heard) -> int | Answering:
        answer: int | Answering = dice.choice([200, 204, 299, 500, 429, 302, hang, reset])
        if answer in (200, 204, 299):
            kept[heard.id] = heard.body
        return answer

    receiver.decide = decide
    for _ in range(12):
        post.results(dice.randrange(1, 150))
        post.deliver()
        post.later()
    receiver.decide = lambda heard: kept.setdefault(heard.id, heard.body) and 200
    while WebhookDelivery.objects.filter(delivered_at=None).exists():
        post.later()
        post.deliver()

    told = [item["position"] for body in kept.values() for item in Heard("", {}, body).event["data"]["items"]]
    assert sorted(told) == list(range(1, feed.head(post.world.game.pk) + 1))
    bodies = {(heard.id, heard.body) for heard in receiver.heard}
    assert len(bodies) == len(kept)
    assert len(receiver.heard) > len(kept)


def test_results_that_are_new_to_a_webhook_begin_now(post: Post, receiver: Receiver) -> None:
    webhook = post.webhook(receiver, "gaps")
    post.results(5)

    control.change(webhook=webhook, events=["results"])
    post.results(1)
    post.deliver()

    assert positions(receiver) == [6]


def test_a_position_beyond_the_feed_is_refused(world: World) -> None:
    with pytest.raises(ProtocolError) as refused:
        control.create(service=world.game, url="https://game.example.com/", events=["results"], after=1)

    assert refused.value.code.name == "position_gone"
    assert not Webhook.objects.exists()


def test_the_ids_sort_by_time(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver)
    for _ in range(5):
        post.results(1)
        post.deliver()

    ids = [heard.id for heard in receiver.heard]
    assert ids == sorted(ids)
    assert all(id.startswith("msg_") and "." not in id for id in ids)
