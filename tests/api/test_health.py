"""`/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from apps_registry import webhooks
from apps_registry.models import Device
from messaging.api import health
from messaging.live.node import Node
from messaging.models import Feed, Gap, Stream, Subscription, WebhookDelivery
from tests.api.callers import problem
from tests.conftest import World


def test_the_process_lives_without_a_database() -> None:
    answer = Client().get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_it_is_ready_when_everything_answers(node: Node) -> None:
    answer = Client().get("/readyz")

    checks = {"database": "ok", "journal": "ok", "durability": "ok", "draining": "ok", "wakeups": "ok"}
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "checks": checks})


def not_ready(**expected: str) -> None:
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "not ready"
    assert expected.items() <= answer.json()["checks"].items()


def test_it_is_not_ready_without_the_database(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        raise OperationalError("no route to host db.internal")

    monkeypatch.setattr(health.sql, "run", gone)

    not_ready(database="OperationalError", durability="OperationalError")


def test_it_is_not_ready_while_migrations_wait_and_says_what_to_do(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_migrated", False)
    recorder = MigrationRecorder(connection)
    newest = recorder.migration_qs.filter(app="messaging").latest("pk").name

    recorder.record_unapplied("messaging", newest)
    try:
        not_ready(database="not migrated: manage.py migrate")
    finally:
        recorder.record_applied("messaging", newest)

    assert Client().get("/readyz").json()["checks"]["database"] == "ok"


def test_it_is_not_ready_when_the_writer_is_full(node: Node) -> None:
    node.journal._waiting = node.journal._limit

    not_ready(journal="overloaded")

    node.journal._waiting = 0


def test_it_is_not_ready_when_the_writer_is_dead(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.05)
    node.journal.stop()
    node.journal._closed = False

    not_ready(journal="unavailable")

    node.journal._closed = True


def test_it_is_not_ready_while_it_goes_down(node: Node) -> None:
    node.draining = True

    not_ready(draining="restart")


def test_lost_wake_ups_degrade_but_do_not_stop(node: Node) -> None:
    node.wakeups.working = False

    answer = Client().get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


@pytest.mark.sqlite
def test_it_is_not_ready_when_the_disk_is_not_waited_for(node: Node, settings: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous=NORMAL")
    try:
        not_ready(durability="synchronous is not FULL")
        settings.MEANWHILE_REQUIRE_DURABLE = False
        assert Client().get("/readyz").status_code == 200
    finally:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=FULL")


def test_the_numbers_say_what_is_waiting(
    idle_node: Node, world: World, phone: Device, tablet: Device, settings: Any
) -> None:
    settings.MEANWHILE_BACKLOG_SOFT = 1
    for _ in range(3):
        world.publish("device:phone")
    world.publish("room:lobby")
    Subscription.objects.filter(device=phone, stream__name="device:phone").update(processed=1, received=1, stopped_at=2)
    stream = Stream.objects.get(name="device:phone")
    Gap.objects.create(stream=stream, from_offset=1, to_offset=2, reason="expired", created_at=stream.created_at)

    hook = webhooks.create(service=world.game, url="https://game.example.com/", events=["results"], position=2)
    Feed.objects.create(service=world.game, head=9)
    for number, died in enumerate([None, None, stream.created_at]):
        WebhookDelivery.objects.create(
            webhook=hook,
            message_id=f"msg_{number}",
            event="results",
            created_at=stream.created_at,
            next_attempt_at=stream.created_at,
            failed_at=died,
            body="{}",
        )

    class Session:
        state = "background"

    idle_node.hub.sessions[phone.pk] = Session()  # type: ignore[assignment]
    answer = Client().get("/metrics")
    idle_node.hub.sessions.clear()

    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    numbers = dict(line.rsplit(" ", 1) for line in answer.content.decode().splitlines() if not line.startswith("#"))
    expected = {
        'meanwhile_sessions{state="foreground"}': "0",
        'meanwhile_sessions{state="background"}': "1",
        "meanwhile_backlog_messages": "4",
        "meanwhile_subscriptions_behind": "3",
        "meanwhile_subscriptions_above_soft_limit": "1",
        "meanwhile_subscriptions_stopped": "1",
        'meanwhile_devices{state="offline"}': "2",
        "meanwhile_service_sockets": "0",
        "meanwhile_streams": "4",
        "meanwhile_log_span_messages": "4",
        'meanwhile_gap_messages{reason="expired"}': "2",
        'meanwhile_gap_messages{reason="purged"}': "0",
        "meanwhile_journal_waiting": "0",
        "meanwhile_wakeups_working": "1",
        "meanwhile_webhook_deliveries_open": "2",
        "meanwhile_webhook_deliveries_dead": "1",
        "meanwhile_webhook_results_waiting": "7",
        "meanwhile_webhooks_disabled": "0",
    }
    assert expected.items() <= numbers.items()


def test_the_numbers_are_written_as_prometheus_reads_them(idle_node: Node) -> None:
    text = Client().get("/metrics").content.decode()

    assert text.endswith("\n")
    sample = re.compile(r'meanwhile_[a-z_]+(\{[a-z]+="[a-z]+"\})? \d+')
    for line in text.splitlines():
        assert (
            re.fullmatch(r"# HELP meanwhile_\w+ .+\.", line)
            or re.fullmatch(r"# TYPE meanwhile_\w+ (gauge|counter)", line)
            or sample.fullmatch(line)
        ), line


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_they_are_only_looked_at(path: str, method: str, idle_node: Node) -> None:
    # As it is outside of tests, where Django's own answer would be a page on cookies.
    answer = Client(enforce_csrf_checks=True).generic(method, path)

    assert problem(answer) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"
