"""The first bad night: which device misses what, and why, and what can be done about it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from apps_registry.models import Device, MessageType
from messaging.log import cursors, presence, retention
from messaging.log.cursors import Report
from messaging.log.effects import Effects
from messaging.log.presence import Arrival, Departure
from messaging.models import Gap, Message, Result
from messaging.protocol.rules import Segment
from tests.conftest import World

LIST = "/admin/messaging/devicebacklog/"


@pytest.fixture
def devices(world: World) -> dict[str, Device]:
    """near: 1 pending, foreground; far: 5 pending, offline, one failed; never: 2 pending, never connected."""
    found = {name: world.device(name, user=f"user-of-{name}") for name in ("near", "far", "never")}
    for name, count in {"near": 2, "far": 8, "never": 2}.items():
        for _ in range(count):
            world.publish(f"device:{name}")
    with transaction.atomic():
        for name in ("near", "far"):
            presence.enter([Arrival(found[name].pk, "foreground", 1, "pull", "node-1")], Effects())
        failed = {2: Segment(2, 2, "failed", "KeyError", "no such door")}
        cursors.advance(
            [Report(found["near"].pk, "device:near", 1), Report(found["far"].pk, "device:far", 3, special=failed)],
            Effects(),
        )
        presence.leave([Departure(found["far"].pk, 1)], Effects())
    return found


def names(client: Client, query: str = "") -> list[str]:
    """The devices of the list, from top to bottom."""
    page = client.get(LIST + query).content.decode()
    return re.findall(r'field-device[^>]*><a href="[^"]+">([^<]+)</a>', page)


def act(client: Client, action: str, *devices: Device, **more: str) -> Any:
    chosen = {"action": action, "_selected_action": [device.pk for device in devices], **more}
    return client.post(LIST, chosen, follow=True)


def test_the_device_that_misses_most_stands_first(operator: Client, devices: dict[str, Device]) -> None:
    assert names(operator) == ["far", "never", "near"]


@pytest.mark.parametrize("column", range(1, 11))
def test_every_column_sorts_both_ways(operator: Client, devices: dict[str, Device], column: int) -> None:
    up, down = names(operator, f"?o={column}"), names(operator, f"?o=-{column}")

    assert sorted(up) == sorted(down) == ["far", "near", "never"]


def test_sorting_by_what_is_pending_is_by_number(operator: Client, devices: dict[str, Device]) -> None:
    assert names(operator, "?o=2") == ["near", "never", "far"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?state=foreground", ["near"]),
        ("?state=offline", ["far", "never"]),
        ("?backlog=yes", ["far", "never", "near"]),
        ("?backlog=no", []),
        ("?backlog=behind", ["far"]),
        ("?why=never", ["never"]),
        ("?why=away", ["far"]),
        ("?q=nea", ["near"]),
        ("?q=user-of-far", ["far"]),
    ],
)
def test_the_list_is_filtered_and_searched(
    operator: Client, devices: dict[str, Device], settings: Any, query: str, found: list[str]
) -> None:
    settings.MEANWHILE_BACKLOG_SOFT = 4

    assert names(operator, query) == found


def test_the_list_costs_the_same_however_many_devices_there_are(
    operator: Client, world: World, devices: dict[str, Device], django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        world.device(f"more-{number}", user="ann")

    with django_assert_max_num_queries(12):
        assert len(names(operator)) == 33


def test_a_devices_page_shows_streams_returns_and_failures_and_no_data(
    operator: Client, world: World, devices: dict[str, Device]
) -> None:
    world.publish("device:far", payload='"a secret of the heart"')

    page = operator.get(f"{LIST}{devices['far'].pk}/change/").content.decode()

    assert "device:far" in page
    assert "user:user-of-far" in page
    assert "KeyError" in page
    assert "interrupted" in page
    assert "a secret of the heart" not in page


def test_a_stream_that_waits_at_a_failure_says_where_since_when_and_why(
    operator: Client, world: World, devices: dict[str, Device]
) -> None:
    MessageType.objects.filter(name="turn").update(on_failure="stop")
    failed = {5: Segment(5, 5, "failed", "ValueError", "no till")}
    with transaction.atomic():
        cursors.advance([Report(devices["far"].pk, "device:far", 8, special=failed)], Effects())
    Result.objects.filter(code="ValueError").update(reported_at=timezone.now() - timedelta(hours=3, seconds=5))

    page = operator.get(f"{LIST}{devices['far'].pk}/change/").content.decode()
    of_another = operator.get(f"{LIST}{devices['near'].pk}/change/").content.decode()

    assert "device:far waits at message 5 and has waited for 3 h: its app failed on it (ValueError: no till)" in page
    assert "waits at 5" in page
    assert "failed on it" not in of_another


@pytest.fixture
def stopped(devices: dict[str, Device]) -> Device:
    """far waits at message 5 of its own 8."""
    MessageType.objects.filter(name="turn").update(on_failure="stop")
    failed = {5: Segment(5, 5, "failed", "ValueError", "no till")}
    with transaction.atomic():
        cursors.advance([Report(devices["far"].pk, "device:far", 8, special=failed)], Effects())
    return devices["far"]


def test_who_waits_at_a_failure_is_found_from_the_overview(operator: Client, stopped: Device) -> None:
    overview = operator.get("/admin/").content.decode()

    assert "devices stopped at a failure" in overview
    assert "why=stopped" in overview
    assert names(operator, "?why=stopped") == ["far"]
    assert "stopped at a failure" in operator.get(LIST).content.decode()


def test_skip_asks_first_and_takes_the_one_message_away(operator: Client, stopped: Device) -> None:
    page = operator.get(f"{LIST}{stopped.pk}/change/").content.decode()
    asked = act(operator, "skip", stopped).content.decode()
    before = Gap.objects.count()
    done = act(operator, "skip", stopped, confirmed="yes").content.decode()
    again = act(operator, "skip", stopped, confirmed="yes").content.decode()

    assert "Skip message 5…" in page
    assert ("what waits behind it follows" in asked, before) == (True, 0)
    assert "Messages skipped: 1." in done
    assert "Messages skipped: 0." in again
    assert list(Gap.objects.values_list("from_offset", "to_offset", "reason")) == [(5, 5, "purged")]
    left = Message.objects.filter(stream__name="device:far").values_list("offset", flat=True)
    assert list(left.order_by("offset")) == [6, 7, 8]
    assert names(operator, "?why=stopped") == []
    assert "waits at" not in operator.get(f"{LIST}{stopped.pk}/change/").content.decode()


def test_skip_leaves_alone_what_other_devices_read(operator: Client, world: World, stopped: Device) -> None:
    world.publish("user:user-of-far")
    failed = {1: Segment(1, 1, "failed", "ValueError", "no till")}
    with transaction.atomic():
        cursors.advance([Report(stopped.pk, "user:user-of-far", 1, special=failed)], Effects())

    page = operator.get(f"{LIST}{stopped.pk}/change/").content.decode()
    act(operator, "skip", stopped, confirmed="yes")

    assert "a purge up to it would take it from other members, too" in page
    assert Message.objects.filter(stream__name="user:user-of-far").count() == 1


def test_a_gap_is_seen_on_the_page_and_in_its_monitor(operator: Client, devices: dict[str, Device]) -> None:
    stream = Message.objects.filter(stream__name="device:far").first()
    assert stream
    retention.purge(stream_id=stream.stream_id, upto=5, effects=Effects())

    page = operator.get(f"{LIST}{devices['far'].pk}/change/").content.decode()

    assert "4–5 purged" in page
    assert "purged" in operator.get("/admin/messaging/gap/").content.decode()


def test_purge_asks_first_and_then_leaves_a_gap(operator: Client, devices: dict[str, Device]) -> None:
    asked = act(operator, "purge", devices["far"])
    before = Gap.objects.count()
    done = act(operator, "purge", devices["far"], confirmed="yes")

    assert (asked.status_code, before) == (200, 0)
    assert "Messages purged: 8." in done.content.decode()
    assert list(Gap.objects.values_list("from_offset", "to_offset", "reason")) == [(4, 8, "purged")]


def test_a_new_token_is_shown_once_and_voids_the_older(operator: Client, devices: dict[str, Device]) -> None:
    asked = act(operator, "new_token", devices["near"], back=str(devices["near"].pk)).content.decode()
    page = act(operator, "new_token", devices["near"], confirmed="yes")

    assert "No, take me back" in asked
    assert f'href="{LIST}{devices["near"].pk}/change/"' in asked
    assert "eyJ" not in asked

    assert "no-store" in page["Cache-Control"]
    assert re.search(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", page.content.decode())
    devices["near"].refresh_from_db()
    assert devices["near"].token_version == 2


def test_a_revoked_device_is_marked(operator: Client, devices: dict[str, Device]) -> None:
    asked = act(operator, "revoke", devices["near"], devices["far"]).content.decode()
    before = names(operator, "?state=revoked")
    done = act(operator, "revoke", devices["near"], devices["far"], confirmed="yes")

    assert (before, "2 device backlogs" in asked) == ([], True)
    assert "Devices revoked: 2." in done.content.decode()
    assert names(operator, "?state=revoked") == ["far", "near"]


def test_disconnect_counts_the_connections_it_closed(operator: Client, devices: dict[str, Device]) -> None:
    assert "Connections closed: 0." in act(operator, "disconnect", devices["near"]).content.decode()


@pytest.mark.parametrize("action", ["disconnect", "skip", "purge", "new_token", "revoke"])
def test_who_may_only_look_can_do_nothing(viewer: Client, devices: dict[str, Device], action: str) -> None:
    page = act(viewer, action, devices["far"], confirmed="yes")

    devices["far"].refresh_from_db()
    assert page.status_code == 200
    assert (devices["far"].revoked_at, devices["far"].token_version, Gap.objects.count()) == (None, 1, 0)


@pytest.mark.parametrize("model", ["stream", "result", "resume", "gap", "devicebacklog"])
def test_monitors_are_read_only(operator: Client, devices: dict[str, Device], model: str) -> None:
    listed = operator.get(f"/admin/messaging/{model}/")
    added = operator.get(f"/admin/messaging/{model}/add/")
    posted = operator.post(f"{LIST}{devices['far'].pk}/change/", {"name": "other"})

    assert (listed.status_code, added.status_code, posted.status_code) == (200, 403, 403)


def test_the_overview_counts_and_links(operator: Client, devices: dict[str, Device]) -> None:
    page = operator.get("/admin/").content.decode()

    assert "messages pending" in page
    assert "/admin/messaging/devicebacklog/?state=offline" in page


def test_a_device_that_is_not_there_is_said_so(operator: Client, devices: dict[str, Device]) -> None:
    page = operator.get(f"{LIST}999999/change/", follow=True)

    assert "999999" in page.content.decode()


def test_a_device_that_only_polls_is_not_said_to_have_never_come(
    operator: Client, world: World, devices: dict[str, Device]
) -> None:
    with transaction.atomic():
        cursors.advance([Report(devices["never"].pk, "device:never", 1)], Effects())

    polling = operator.get(LIST + "?why=polls").content.decode()
    page = operator.get(f"{LIST}{devices['never'].pk}/change/").content.decode()

    assert re.findall(r'field-device[^>]*><a href="[^"]+">([^<]+)</a>', polling) == ["never"]
    assert "It polls over HTTP and has never opened a socket; last heard of" in page
    assert "1 message not processed." in page
    assert "does the app use its token" not in page


def test_a_device_that_waits_in_a_pull_polls(operator: Client, world: World, devices: dict[str, Device]) -> None:
    with transaction.atomic():
        presence.poll([presence.Polling(devices["never"].pk)], Effects())

    assert names(operator, "?why=polls") == ["never"]
    assert names(operator, "?why=never") == []
