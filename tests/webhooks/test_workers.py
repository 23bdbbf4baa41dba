"""Workers as processes: killed, ended, several at once."""

from __future__ import annotations

import signal
import threading
from typing import Any

from messaging.models import DeliveryState, WebhookDelivery
from messaging.webhooks import control
from tests.waiting import until
from tests.webhooks.conftest import Post
from tests.webhooks.receiver import Receiver

MESSAGES = 30


def test_killed_between_the_post_and_its_record_it_is_delivered_again_with_the_same_id(
    post: Post, receiver: Receiver
) -> None:
    webhook = post.webhook(receiver)
    post.results(3)

    killed = post.process(MEANWHILE_FAILPOINT="webhook.after_post").wait(60)
    answered = WebhookDelivery.objects.get()
    post.deliver()
    during_the_lease = len(receiver.heard)
    post.later()
    post.deliver()

    assert killed == -signal.SIGKILL
    assert (answered.state, answered.attempts) == (DeliveryState.OPEN, 1)
    assert during_the_lease == 1
    first, second = receiver.heard
    assert (first.id, first.body) == (second.id, second.body)
    assert first.verified(webhook.secret) == second.verified(webhook.secret)
    assert WebhookDelivery.objects.get().state == DeliveryState.DELIVERED


def test_a_delivery_that_kills_its_worker_each_time_ends_as_a_dead_letter(post: Post, receiver: Receiver) -> None:
    webhook = post.webhook(receiver)
    post.results(1)
    post.process(MEANWHILE_FAILPOINT="webhook.after_post").wait(60)
    WebhookDelivery.objects.update(attempts=10)
    post.later()

    post.deliver()

    delivery = WebhookDelivery.objects.get(webhook=webhook)
    assert (delivery.state, delivery.last_error) == (
        DeliveryState.DEAD,
        "the worker ended before there was an answer",
    )
    assert len(receiver.heard) == 1


def test_two_workers_at_once_deliver_each_once(post: Post, receiver: Receiver) -> None:
    webhooks = [post.webhook(receiver, path=f"/{number}") for number in range(3)]
    # A worker has one POST a webhook: four at once are of both.
    both = threading.Barrier(4)
    met: list[bool] = []

    def decide(_: Any) -> int:
        try:
            both.wait(20)
            met.append(True)
        except threading.BrokenBarrierError:
            pass
        both.abort()
        return 204

    receiver.decide = decide
    for _ in range(2):
        post.process()
    post.results(MESSAGES * 100)
    until(lambda: WebhookDelivery.objects.in_state("delivered").count() == MESSAGES * len(webhooks), "all delivered")

    assert met, "only one worker was ever at it"
    for webhook in webhooks:
        mine = [heard for heard in receiver.heard if heard.path == f"/hook/{webhooks.index(webhook)}"]
        told = [item["position"] for heard in mine for item in heard.event["data"]["items"]]
        assert sorted(told) == list(range(1, MESSAGES * 100 + 1))
        assert len({heard.id for heard in mine}) == len(mine)


def test_what_a_worker_is_posting_is_not_posted_by_another_when_it_is_retried_by_hand(
    post: Post, receiver: Receiver
) -> None:
    post.webhook(receiver)
    go_on = threading.Event()
    receiver.decide = lambda _: 204 if len(receiver.heard) > 1 or go_on.wait(20) else 500
    post.results(1)
    worker = post.process()
    until(lambda: receiver.heard, "the first POST")

    control.retry(WebhookDelivery.objects.get())
    post.deliver()

    assert len(receiver.heard) == 1
    go_on.set()
    until(lambda: WebhookDelivery.objects.in_state("delivered").exists(), "delivered")
    worker.terminate()
    assert worker.wait(30) == 0
    assert len(receiver.heard) == 1


def test_on_sigterm_the_attempt_under_way_is_finished_and_nothing_more_is_taken(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver)
    go_on = threading.Event()
    receiver.decide = lambda _: 204 if go_on.wait(20) else 500
    post.results(200)
    worker = post.process()
    until(lambda: receiver.heard, "the first POST")

    worker.terminate()
    go_on.set()
    status = worker.wait(30)

    assert status == 0
    assert len(receiver.heard) == 1
    assert WebhookDelivery.objects.get().state == DeliveryState.DELIVERED


def test_a_worker_that_runs_delivers_what_comes(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver)
    post.process()

    for count in (1, 2, 3):
        post.results(1)
        until(lambda count=count: len(receiver.heard) == count, f"POST {count}")  # type: ignore[misc]

    assert [heard.event["data"]["upto"] for heard in receiver.heard] == [1, 2, 3]
