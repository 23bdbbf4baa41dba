"""What becomes of a delivery: every way in which a receiver can fail, and what is done about it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from apps_registry import webhooks
from apps_registry.models import Webhook
from messaging.log import retention, sql
from messaging.log.effects import Effects
from messaging.models import DeliveryState, WebhookDelivery
from messaging.webhooks import control, schedule
from tests.webhooks.conftest import Post
from tests.webhooks.receiver import Answering, Heard, Receiver, drip, hang, nonsense, reset, respond

Patient = Callable[[float], None]


def only() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


def wait_of(delivery: WebhookDelivery, since: datetime | None = None) -> float:
    """Seconds until its next attempt, from now or from a moment."""
    return (delivery.next_attempt_at - (since or sql.now())).total_seconds()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(post: Post, receiver: Receiver, status: int) -> None:
    post.webhook(receiver)
    post.results(1)
    receiver.answers = [status]

    post.deliver()

    delivery = only()
    assert (delivery.state, delivery.attempts, delivery.last_status) == (DeliveryState.DELIVERED, 1, status)


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (500, 500, "HTTP 500"),
        (404, 404, "HTTP 404"),
        (302, 302, "HTTP 302"),
        (hang, None, "no answer within 0.3 s"),
        (drip, None, "no answer within 0.3 s"),
        (reset, None, "no answer: ReadError"),
        (nonsense, None, "no answer: RemoteProtocolError"),
    ],
)
def test_anything_else_is_tried_again_later_with_the_same_id(
    post: Post, receiver: Receiver, patient: Patient, answer: int | Answering, status: int | None, error: str
) -> None:
    patient(0.3)
    post.webhook(receiver)
    post.results(1)
    receiver.answers = [answer]

    before = sql.now()
    post.deliver()
    after, failed = sql.now(), only()
    post.later()
    post.deliver()

    assert (failed.state, failed.attempts, failed.last_status, failed.last_error) == ("open", 1, status, error)
    assert (wait_of(failed, before) > 4, wait_of(failed, after) < 6) == (True, True)
    first, second = receiver.heard
    assert (first.id, first.body) == (second.id, second.body)
    assert only().state == DeliveryState.DELIVERED


def test_nobody_at_the_port_is_a_failure_like_others(post: Post) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
    control.create(service=post.world.game, url=url, events=["results"])
    post.results(1)

    post.deliver()

    assert (only().state, only().last_error) == ("open", "All connection attempts failed")


def test_redirects_are_not_followed(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver)
    post.results(1)
    receiver.answers = [respond(307, Location=receiver.url + "/elsewhere")]

    post.deliver()

    assert [heard.path for heard in receiver.heard] == ["/hook"]


def test_a_receiver_may_ask_for_more_time(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver)
    post.results(1)
    receiver.answers = [respond(429, Retry_After="600")]

    post.deliver()

    assert 590 < wait_of(only()) < 670


def test_gone_switches_the_webhook_off(post: Post, receiver: Receiver) -> None:
    webhook = post.webhook(receiver)
    post.results(1)
    receiver.answers = [410]

    post.deliver()
    post.results(1)
    post.deliver()

    webhook.refresh_from_db()
    assert webhook.disabled_at
    assert webhook.disabled_reason == "The receiver answered 410 Gone."
    assert len(receiver.heard) == 1
    assert (only().state, only().last_error) == (DeliveryState.DEAD, "HTTP 410")


def test_a_webhook_that_is_deleted_while_its_receiver_says_gone_is_nobodys_failure(
    post: Post, receiver: Receiver
) -> None:
    webhook = post.webhook(receiver)
    Webhook.objects.filter(pk=webhook.pk).delete()

    assert webhooks.disable(webhook=webhook, reason="The receiver answered 410 Gone.") is False
    assert webhooks.enable(webhook=webhook) is False


def test_after_the_last_attempt_it_is_a_dead_letter(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver)
    post.results(1)
    receiver.decide = lambda _: 500

    for _ in range(schedule.ATTEMPTS + 3):
        post.deliver()
        post.later()

    assert len(receiver.heard) == schedule.ATTEMPTS == 10
    assert len({heard.id for heard in receiver.heard}) == 1
    assert (only().state, only().attempts) == (DeliveryState.DEAD, 10)


def test_a_dead_letter_that_is_sent_again_has_its_old_id_and_the_whole_schedule(post: Post, receiver: Receiver) -> None:
    post.webhook(receiver)
    post.results(1)
    receiver.decide = lambda _: 500
    for _ in range(10):
        post.deliver()
        post.later()
    dead = only()

    sent = control.send_again([dead.pk])
    post.deliver()
    still_open = only().state
    receiver.decide = None
    post.later()
    post.deliver()

    assert (sent, still_open, only().state) == (1, DeliveryState.OPEN, DeliveryState.DELIVERED)
    assert {heard.id for heard in receiver.heard} == {dead.message_id}


def test_dead_letters_alone_are_sent_again_or_discarded(post: Post, receiver: Receiver) -> None:
    webhook = post.webhook(receiver)
    now = sql.now()

    def delivery(name: str, **moments: Any) -> int:
        return WebhookDelivery.objects.create(
            webhook=webhook, message_id=name, event="ping", created_at=now, next_attempt_at=now, body="{}", **moments
        ).pk

    everything = [delivery("open"), delivery("done", delivered_at=now), delivery("dead", failed_at=now)]

    discarded = control.discard(everything[:2]), control.discard(everything), control.send_again(everything)

    assert discarded == (0, 1, 0)
    assert set(WebhookDelivery.objects.values_list("message_id", flat=True)) == {"open", "done"}


@pytest.mark.parametrize("moment", ["delivered_at", "failed_at", ""])
def test_any_delivery_may_be_sent_once_more_by_hand(post: Post, receiver: Receiver, moment: str) -> None:
    webhook = post.webhook(receiver)
    delivery = control.ping(webhook)
    WebhookDelivery.objects.update(
        attempts=3, next_attempt_at=sql.now() + timedelta(hours=5), **({moment: sql.now()} if moment else {})
    )
    delivery.refresh_from_db()

    control.retry(delivery)
    post.deliver()

    assert [heard.id for heard in receiver.heard] == [delivery.message_id]
    assert only().state == DeliveryState.DELIVERED


def test_both_secrets_sign_for_a_day_after_a_rotation(post: Post, receiver: Receiver) -> None:
    webhook = post.webhook(receiver)
    old = webhook.secret
    new = webhooks.rotate_secret(webhook=webhook)
    post.results(1)

    post.deliver()
    Webhook.objects.update(old_secret_until=sql.now() - timedelta(seconds=1))
    post.results(1)
    post.deliver()

    during, after = receiver.heard
    assert during.verified(old) == during.verified(new) == during.event
    assert after.verified(new) == after.event
    with pytest.raises(WebhookVerificationError):
        after.verified(old)


def test_a_body_or_an_id_that_was_changed_on_the_way_is_noticed(post: Post, receiver: Receiver) -> None:
    webhook = post.webhook(receiver)
    post.results(1)
    post.deliver()
    (heard,) = receiver.heard

    for body, headers in [
        (heard.body.replace("processed", "rejected"), heard.headers),
        (heard.body, {**heard.headers, "webhook-id": "msg_0"}),
    ]:
        with pytest.raises(WebhookVerificationError):
            Verifier(webhook.secret).verify(body, headers)


def test_a_retry_is_signed_anew(post: Post, receiver: Receiver) -> None:
    """Receivers refuse what is older than five minutes; the schedule goes on for days."""
    webhook = post.webhook(receiver)
    control.ping(webhook)
    WebhookDelivery.objects.update(created_at=sql.now() - timedelta(days=2))

    post.deliver()

    assert abs(int(receiver.heard[0].headers["webhook-timestamp"]) - time.time()) < 60
    receiver.heard[0].verified(webhook.secret)


def test_one_that_does_not_answer_holds_no_other_back(post: Post, receiver: Receiver) -> None:
    """The slow one hangs until the quick one has everything: were they to wait for each other, it would time out."""
    slow = Receiver()
    slow.decide = lambda _: hang
    hanging = control.ping(post.webhook(slow, "gaps"))
    post.webhook(receiver)
    post.results(500)

    def decide(_: Heard) -> int:
        if len(receiver.heard) == 5:
            slow.over.set()
        return 204

    receiver.decide = decide
    post.deliver()
    slow.close()

    hanging.refresh_from_db()
    assert hanging.last_error == "no answer: RemoteProtocolError"
    assert len(receiver.heard) == 5


@pytest.mark.parametrize(
    ("address", "private", "refused"),
    [
        ("127.0.0.1", True, ""),
        ("127.0.0.1", False, "Not to a private address (MEANWHILE_WEBHOOK_PRIVATE)."),
        (
            "169.254.169.254",
            True,
            "Not to this address: link-local, metadata, multicast and unspecified ones are never",
        ),
    ],
)
def test_what_a_name_stands_for_is_looked_at_when_it_is_called(
    post: Post,
    receiver: Receiver,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    private: bool,
    refused: str,
) -> None:
    """A name that was harmless when the webhook was made may stand for another address today."""
    settings.MEANWHILE_WEBHOOK_PRIVATE = private
    port = receiver.server_address[1]
    resolve = socket.getaddrinfo

    def rebound(host: Any, *arguments: Any, **more: Any) -> Any:
        return resolve(address if host == "game.example.com" else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    control.create(service=post.world.game, url=f"http://game.example.com:{port}/hook", events=["results"])
    post.results(1)

    post.deliver()

    assert [heard.headers["host"] for heard in receiver.heard] == ([] if refused else [f"game.example.com:{port}"])
    assert only().last_error.startswith(refused)
    assert bool(only().last_error) == bool(refused)


def test_odd_ways_to_write_a_loopback_address_are_seen_through(post: Post, receiver: Receiver, settings: Any) -> None:
    settings.MEANWHILE_WEBHOOK_PRIVATE = False
    port = receiver.server_address[1]
    for host in ("0x7f.1", "2130706433", "127.1", "localhost", "[::ffff:127.0.0.1]"):
        webhook = control.create(service=post.world.game, url=f"http://{host}:{port}/", events=["results"])
        control.ping(webhook)

    post.deliver()

    assert receiver.heard == []
    assert {row.last_error for row in WebhookDelivery.objects.all()} == {
        "Not to a private address (MEANWHILE_WEBHOOK_PRIVATE)."
    }


def test_a_webhook_that_was_deleted_takes_its_deliveries_along(post: Post, receiver: Receiver) -> None:
    webhook = post.webhook(receiver)
    control.ping(webhook)

    control.delete(webhook)
    post.deliver()

    assert receiver.heard == []
    assert not WebhookDelivery.objects.exists()


def test_a_dead_letter_that_is_sent_again_outlives_the_time_it_was_kept_for(post: Post, receiver: Receiver) -> None:
    """Made a month ago, dead for less: the next round must not take it for one that nobody wants."""
    post.webhook(receiver)
    post.results(1)
    receiver.answers = [500]
    post.deliver()
    month = sql.now() - timedelta(days=31)
    WebhookDelivery.objects.update(created_at=month, failed_at=month + timedelta(days=3), attempts=10)

    control.send_again([only().pk])
    retention.clean(Effects())
    post.deliver()

    assert only().state == DeliveryState.DELIVERED


def test_what_was_never_sent_in_that_time_is_forgotten(post: Post, receiver: Receiver) -> None:
    webhook = post.webhook(receiver)
    control.ping(webhook)
    webhooks.disable(webhook=webhook, reason="no longer needed")
    month = sql.now() - timedelta(days=31)
    WebhookDelivery.objects.update(created_at=month, next_attempt_at=month)

    retention.clean(Effects())

    assert not WebhookDelivery.objects.exists()
