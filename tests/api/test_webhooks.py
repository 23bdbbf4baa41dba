"""`/api/v1/webhooks`: a service's own, their secrets, their deliveries."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from apps_registry.models import Webhook
from messaging.log import sql
from messaging.models import WebhookDelivery
from tests.api.callers import Caller, problem, service_caller
from tests.conftest import World

HOOKS = "/api/v1/webhooks"
URL = "https://shop.example.com/hooks"


@pytest.fixture
def operator(idle_node: object, world: World) -> Caller:
    return service_caller(world.game, "manage")


@pytest.fixture
def hook(operator: Caller) -> str:
    made: str = operator.post(HOOKS, {"url": URL, "events": ["results", "gaps"]}).json()["id"]
    return f"{HOOKS}/{made}"


def test_a_new_webhook_shows_its_secret_once(operator: Caller) -> None:
    made = operator.post(HOOKS, {"url": URL, "events": ["backlog", "results"]})

    said = made.json()
    assert made.status_code == 201
    assert said.pop("secret") == Webhook.objects.get().secret
    assert said.pop("created_at")
    assert said.pop("id").startswith("wh_")
    assert said == {
        "url": URL,
        "events": ["results", "backlog"],
        "position": 0,
        "open": 0,
        "dead": 0,
        "disabled_at": None,
        "disabled_reason": "",
    }
    assert "whsec_" not in operator.get(HOOKS).content.decode()


@pytest.mark.parametrize(
    ("wrong", "member"),
    [
        ({"url": "gopher://shop.example.com"}, "url"),
        ({"url": "http://169.254.169.254/"}, "url"),
        ({"url": "https://a:b@shop.example.com/"}, "url"),
        ({"url": None}, "url"),
        ({"events": []}, "events"),
        ({"events": ["weather"]}, "events"),
        ({"events": "results"}, "events"),
        ({"after": -1}, "after"),
    ],
)
def test_what_makes_no_sense_is_refused(operator: Caller, hook: str, wrong: dict[str, Any], member: str) -> None:
    made = operator.post(HOOKS, {"url": URL, "events": ["results"], **wrong})
    changes = [operator.patch(hook, wrong)] if member != "after" else []

    for answer in (made, *changes):
        assert problem(answer) == (400, "invalid")
        assert list(answer.json()["errors"]) == [member]
    assert Webhook.objects.get().url == URL


def test_a_position_that_the_feed_has_not_got_to_is_refused(operator: Caller) -> None:
    answer = operator.post(HOOKS, {"url": URL, "events": ["results"], "after": 5})

    assert problem(answer) == (410, "position_gone")
    assert answer.json()["head"] == 0


def test_a_change_keeps_what_is_not_told(operator: Caller, hook: str) -> None:
    said = operator.patch(hook, {"events": ["presence"]}).json()

    assert (said["url"], said["events"], said["disabled_at"]) == (URL, ["presence"], None)
    assert operator.get(hook).json() == said


def test_it_is_switched_off_and_on(operator: Caller, hook: str) -> None:
    off = operator.patch(hook, {"disabled": True}).json()
    on = operator.patch(hook, {"disabled": False}).json()

    assert off["disabled_at"]
    assert off["disabled_reason"] == "Switched off over the API."
    assert (on["disabled_at"], on["disabled_reason"]) == (None, "")


def test_a_rotation_shows_the_new_secret_and_until_when_the_old_one_signs(operator: Caller, hook: str) -> None:
    before = Webhook.objects.get().secret

    answer = operator.post(f"{hook}/secret")

    row = Webhook.objects.get()
    assert answer.status_code == 201
    assert answer.json()["secret"] == row.secret != before
    assert answer.json()["old_secret_until"]
    assert row.old_secret == before


def test_a_test_is_a_delivery_that_waits_for_a_worker(operator: Caller, hook: str) -> None:
    answer = operator.post(f"{hook}/test")

    said = answer.json()
    assert answer.status_code == 201
    assert (said["event"], said["state"], said["attempts"]) == ("ping", "open", 0)
    assert operator.get(f"{hook}/deliveries").json() == {"items": [said], "next": None}
    assert operator.get(hook).json()["open"] == 1


def test_one_that_is_switched_off_is_not_tested(operator: Caller, hook: str) -> None:
    operator.patch(hook, {"disabled": True})

    assert problem(operator.post(f"{hook}/test")) == (400, "invalid")


@pytest.fixture
def letters(hook: str) -> None:
    """Five deliveries, the newest last: open, delivered, dead, dead, dead."""
    now = sql.now()
    states: list[dict[str, Any]] = [{}, {"delivered_at": now, "last_status": 204}]
    states += [{"failed_at": now, "last_status": 500, "last_error": "HTTP 500", "attempts": 10}] * 3
    for number, state in enumerate(states):
        WebhookDelivery.objects.create(
            webhook=Webhook.objects.get(),
            message_id=f"msg_{number}",
            event="gaps",
            created_at=now,
            next_attempt_at=now,
            body='{"secret": "of the app"}',
            **state,
        )


@pytest.mark.usefixtures("letters")
def test_deliveries_are_listed_newest_first_and_by_state(operator: Caller, hook: str) -> None:
    def ids(**query: Any) -> list[str]:
        return [item["id"] for item in operator.get(f"{hook}/deliveries", **query).json()["items"]]

    assert ids() == ["msg_4", "msg_3", "msg_2", "msg_1", "msg_0"]
    assert ids(state="dead") == ["msg_4", "msg_3", "msg_2"]
    assert ids(state="open") == ["msg_0"]
    assert ids(state="delivered") == ["msg_1"]
    assert problem(operator.get(f"{hook}/deliveries", state="lost")) == (400, "invalid")
    dead = operator.get(f"{hook}/deliveries", state="dead").json()["items"][0]
    assert (dead["last_status"], dead["last_error"], dead["next_attempt_at"]) == (500, "HTTP 500", None)


@pytest.mark.usefixtures("letters")
def test_pages_of_deliveries_have_each_once(operator: Caller, hook: str) -> None:
    found: list[str] = []
    page = operator.get(f"{hook}/deliveries", limit=2).json()
    while True:
        found += [item["id"] for item in page["items"]]
        if not page["next"]:
            break
        page = operator.get(f"{hook}/deliveries", limit=2, cursor=page["next"]).json()

    assert found == ["msg_4", "msg_3", "msg_2", "msg_1", "msg_0"]


@pytest.mark.usefixtures("letters")
def test_a_dead_letter_is_sent_again(operator: Caller, hook: str) -> None:
    said = operator.post(f"{hook}/deliveries/msg_3/retry").json()

    assert (said["state"], said["attempts"], said["failed_at"]) == ("open", 0, None)
    assert operator.get(hook).json()["dead"] == 2


def test_a_delivery_that_is_not_there_is_unknown(operator: Caller, hook: str) -> None:
    for name in ("msg_9", "msg%00", "%20"):
        assert problem(operator.post(f"{hook}/deliveries/{name}/retry")) == (404, "unknown_delivery")


def test_a_webhook_is_deleted_with_its_deliveries(operator: Caller, hook: str) -> None:
    operator.post(f"{hook}/test")

    answer = operator.delete(hook)

    assert answer.status_code == 204
    assert problem(operator.get(hook)) == (404, "unknown_webhook")
    assert not WebhookDelivery.objects.exists()


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize(
    ("verb", "path", "body", "code"),
    [
        ("patch", "", {"url": f"{URL}/2"}, "unknown_webhook"),
        ("patch", "", {"disabled": True}, "unknown_webhook"),
        ("patch", "", {"disabled": False}, "unknown_webhook"),
        ("post", "/secret", {}, "unknown_webhook"),
        ("post", "/deliveries/{delivery}/retry", {}, "unknown_webhook"),
        ("post", "/deliveries/{delivery}/retry", {}, "unknown_delivery"),
        ("delete", "", None, "unknown_webhook"),
    ],
)
def test_one_that_is_deleted_at_that_very_moment_is_unknown(
    operator: Caller, hook: str, verb: str, path: str, body: Any, code: str
) -> None:
    delivery = operator.post(f"{hook}/test", {}).json()["id"]

    def deleting(execute: Any, sql: str, *args: Any) -> Any:
        """Somebody else is quicker: between the look and the first statement that is to change it."""
        if not gone and ("SAVEPOINT" in sql or sql.startswith(("BEGIN", "UPDATE"))):
            gone.append(sql)
            (WebhookDelivery if code == "unknown_delivery" else Webhook).objects.all().delete()
        return execute(sql, *args)

    gone: list[str] = []
    with connection.execute_wrapper(deleting):
        said = getattr(operator, verb)(hook + path.format(delivery=delivery), *([] if body is None else [body]))

    assert gone
    assert problem(said) == (404, code)


def test_another_service_of_the_same_app_sees_none_of_it(idle_node: object, world: World, hook: str) -> None:
    other = service_caller(world.weather)

    assert other.get(HOOKS).json()["items"] == []
    for method, path, body in [
        ("GET", hook, None),
        ("PATCH", hook, {"disabled": True}),
        ("DELETE", hook, None),
        ("POST", f"{hook}/secret", None),
        ("POST", f"{hook}/test", None),
        ("GET", f"{hook}/deliveries", None),
        ("POST", f"{hook}/deliveries/msg_3/retry", None),
    ]:
        assert problem(other.call(method, path, body)) == (404, "unknown_webhook")
    assert Webhook.objects.get().disabled_at is None
