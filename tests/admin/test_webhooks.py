"""Webhooks in the admin: made, switched off and on, their dead letters."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from apps_registry import webhooks
from apps_registry.models import Webhook
from messaging.log import sql
from messaging.models import WebhookDelivery
from messaging.webhooks import control
from tests.conftest import World

HOOKS = "/admin/apps_registry/webhook/"
LETTERS = "/admin/messaging/webhookdelivery/"
SECRET = re.compile(r"whsec_[\w+/=]+")


@pytest.fixture
def hook(world: World) -> Webhook:
    return control.create(service=world.game, url="https://game.example.com/hook", events=["results"])


@pytest.fixture
def letters(hook: Webhook) -> dict[str, WebhookDelivery]:
    now = sql.now()
    states: dict[str, dict[str, Any]] = {
        "open": {"last_status": 500, "last_error": "HTTP 500", "attempts": 2},
        "delivered": {"delivered_at": now, "last_status": 204},
        "dead": {"failed_at": now, "last_error": "no answer within 15 s", "attempts": 10},
    }
    return {
        name: WebhookDelivery.objects.create(
            webhook=hook,
            message_id=f"msg_{name}",
            event="results",
            created_at=now,
            next_attempt_at=now,
            body='{"data":"of the app"}',
            **state,
        )
        for name, state in states.items()
    }


def act(client: Client, where: str, action: str, *rows: Any, **answer: str) -> str:
    chosen = {"action": action, "_selected_action": [row.pk for row in rows], **(answer or {"confirmed": "yes"})}
    return client.post(where, chosen, follow=True).content.decode()


def test_a_new_webhook_shows_its_secret_on_that_page_and_no_other(operator: Client, world: World) -> None:
    told = {"service": world.game.pk, "url": "https://game.example.com/hook", "results": "on", "gaps": "on"}

    made = operator.post(f"{HOOKS}add/", told)

    row = Webhook.objects.get()
    assert (row.events, row.position) == (["results", "gaps"], 0)
    assert SECRET.findall(made.content.decode()) == [row.secret]
    assert "no-store" in made.headers["Cache-Control"]
    for page in (HOOKS, f"{HOOKS}{row.pk}/change/"):
        assert not SECRET.search(operator.get(page).content.decode())


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"results": "on", "url": "gopher://game.example.com/"}, "Say https://host/path"),
        ({"url": "https://game.example.com/"}, "Choose at least one event."),
    ],
)
def test_what_makes_no_sense_is_said_beside_the_form(
    operator: Client, world: World, told: dict[str, str], words: str
) -> None:
    page = operator.post(f"{HOOKS}add/", {"service": world.game.pk, **told})

    assert words in page.content.decode()
    assert not Webhook.objects.exists()


def test_one_too_many_is_said_beside_the_form(
    operator: Client, world: World, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MOST_OF_A_SERVICE", 1)

    page = operator.post(f"{HOOKS}add/", {"service": world.game.pk, "url": "https://a.example.com/", "gaps": "on"})

    assert "at most 1 webhooks" in page.content.decode()


def test_a_webhook_is_changed(operator: Client, hook: Webhook) -> None:
    operator.post(f"{HOOKS}{hook.pk}/change/", {"url": "https://new.example.com/", "presence": "on"})

    hook.refresh_from_db()
    assert (hook.url, hook.events) == ("https://new.example.com/", ["presence"])


def test_it_is_switched_off_and_on_and_says_how_many(operator: Client, hook: Webhook) -> None:
    off = act(operator, HOOKS, "disable", hook)
    hook.refresh_from_db()
    reason = hook.disabled_reason
    again = act(operator, HOOKS, "disable", hook)
    on = act(operator, HOOKS, "enable", hook)

    assert "Webhooks switched off: 1." in off
    assert reason == "Switched off by operator."
    assert "Webhooks switched off: 0." in again
    assert "Webhooks switched on: 1." in on


def test_a_new_secret_is_shown_once(operator: Client, hook: Webhook) -> None:
    before = hook.secret

    page = act(operator, HOOKS, "rotate_secret", hook)

    hook.refresh_from_db()
    assert SECRET.findall(page) == [hook.secret]
    assert hook.secret != before == hook.old_secret
    assert "signs as well" in page


def test_a_test_waits_for_a_worker_and_one_that_is_off_gets_none(operator: Client, world: World, hook: Webhook) -> None:
    off = control.create(service=world.weather, url="https://weather.example.com/", events=["gaps"])
    webhooks.disable(webhook=off, reason="for a test")

    page = act(operator, HOOKS, "send_test", hook, off)

    assert "Tests on their way: 1." in page
    assert f"No test for {off}: The webhook is switched off." in page
    assert [row.event for row in WebhookDelivery.objects.all()] == ["ping"]


def test_the_list_shows_what_waits_and_what_is_dead(
    operator: Client, hook: Webhook, letters: dict[str, WebhookDelivery], django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(12):
        page = operator.get(HOOKS).content.decode()

    for state in ("open", "dead"):
        assert f'{LETTERS}?state={state}&q={hook}">1</a>' in page.replace("&amp;", "&")


@pytest.mark.parametrize("state", ["open", "delivered", "dead"])
def test_deliveries_are_found_by_their_state(operator: Client, letters: dict[str, WebhookDelivery], state: str) -> None:
    page = operator.get(f"{LETTERS}?state={state}").content.decode()

    assert set(re.findall(r"msg_(\w+)", page)) == {state}
    assert "of the app" not in page


def test_dead_letters_are_sent_again_and_the_others_left_alone(
    operator: Client, letters: dict[str, WebhookDelivery]
) -> None:
    page = act(operator, LETTERS, "send_again", *letters.values())

    assert "Dead letters sent again: 1." in page
    row = WebhookDelivery.objects.get(message_id="msg_dead")
    assert (row.state, row.attempts) == ("open", 0)


def test_dead_letters_are_discarded_and_the_others_left_alone(
    operator: Client, letters: dict[str, WebhookDelivery]
) -> None:
    asked = act(operator, LETTERS, "discard", *letters.values(), confirmed_not="yet")
    kept = WebhookDelivery.objects.count()

    page = act(operator, LETTERS, "discard", *letters.values())

    assert (kept, "msg_dead" in asked, "msg_open" in asked) == (3, True, False)
    assert "Dead letters discarded: 1." in page
    assert set(WebhookDelivery.objects.values_list("message_id", flat=True)) == {"msg_open", "msg_delivered"}


def test_who_may_only_look_changes_nothing(viewer: Client, hook: Webhook, letters: dict[str, WebhookDelivery]) -> None:
    for action in ("disable", "rotate_secret", "send_test"):
        act(viewer, HOOKS, action, hook)
    for action in ("send_again", "discard"):
        act(viewer, LETTERS, action, letters["dead"])
    viewer.post(f"{HOOKS}add/", {"service": hook.service_id, "url": "https://a.example.com/", "gaps": "on"})

    again = Webhook.objects.get()
    assert (again.disabled_at, again.secret) == (None, hook.secret)
    assert WebhookDelivery.objects.count() == 3
    assert WebhookDelivery.objects.get(message_id="msg_dead").state == "dead"


def test_a_webhook_is_deleted_with_its_deliveries(
    operator: Client, hook: Webhook, letters: dict[str, WebhookDelivery]
) -> None:
    operator.post(f"{HOOKS}{hook.pk}/delete/", {"post": "yes"})

    assert not Webhook.objects.exists()
    assert not WebhookDelivery.objects.exists()


def test_the_first_page_counts_dead_letters(operator: Client, letters: dict[str, WebhookDelivery]) -> None:
    page = operator.get("/admin/").content.decode()

    assert f'href="{LETTERS}?state=dead" class="mw-bad"><b>1</b>' in page
