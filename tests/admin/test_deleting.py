"""Deleting in the admin: what is in use stays, and finding that out reads no log."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from apps_registry.models import App, Device, MessageType, Service
from messaging.log import cursors, presence
from messaging.log.cursors import Report
from messaging.log.effects import Effects
from messaging.log.presence import Arrival
from messaging.models import AppStorage
from tests.conftest import World


@pytest.fixture
def used(world: World, phone: Device) -> World:
    """Its phone has connected and processed one of 300 messages."""
    for _ in range(3):
        world.publish_all(*(world.publication("device:phone") for _ in range(100)))
    with transaction.atomic():
        presence.enter([Arrival(phone.pk, "foreground", 1, "pull", "node-1")], Effects())
        cursors.advance([Report(phone.pk, "device:phone", 1)], Effects())
    return world


def asked(client: Client, row: Any) -> str:
    page = client.get(f"/admin/apps_registry/{row._meta.model_name}/{row.pk}/delete/")
    assert page.status_code == 200
    return page.content.decode()


def confirm(client: Client, row: Any) -> int:
    return client.post(f"/admin/apps_registry/{row._meta.model_name}/{row.pk}/delete/", {"post": "yes"}).status_code


@pytest.mark.parametrize(
    ("model", "because"),
    [(App, "Streams of it"), (Service, "Messages of it"), (MessageType, "Messages of it"), (Device, "Results of it")],
)
def test_what_is_in_use_stays_and_the_page_names_kinds_and_no_rows(
    operator: Client, used: World, model: Any, because: str, django_assert_max_num_queries: Any
) -> None:
    row = model.objects.filter(**({"name": "game"} if model is Service else {})).order_by("pk").first()
    row = model.objects.get(name="turn") if model is MessageType else row

    with django_assert_max_num_queries(12):
        page = asked(operator, row)
    confirm(operator, row)

    assert because in page
    assert len(page) < 40_000
    assert model.objects.filter(pk=row.pk).exists()


def test_the_action_in_the_list_keeps_what_is_in_use_too(operator: Client, used: World) -> None:
    chosen = {"action": "delete_selected", "_selected_action": [Device.objects.get().pk], "post": "yes"}

    operator.post("/admin/apps_registry/device/", chosen)

    assert Device.objects.count() == 1


def test_what_nobody_used_is_deleted(operator: Client, world: World) -> None:
    AppStorage.objects.create(app=world.app, stored=0)
    unused = MessageType.objects.get(name="gift")

    assert "Are you sure" in asked(operator, unused)
    assert confirm(operator, unused) == confirm(operator, world.weather) == confirm(operator, world.app) == 302
    assert not App.objects.exists()


def test_an_apps_page_renames_no_type_and_deletes_none(operator: Client, world: World) -> None:
    turn = MessageType.objects.get(name="turn")
    form = {
        "types-TOTAL_FORMS": "1",
        "types-INITIAL_FORMS": "1",
        "types-0-id": str(turn.pk),
        "types-0-app": str(world.app.pk),
        "types-0-name": "step",
        "types-0-delivery": "every",
        "types-0-priority": "low",
        "types-0-on_failure": "stop",
        "types-0-DELETE": "on",
        "services-TOTAL_FORMS": "0",
        "services-INITIAL_FORMS": "0",
    }

    saved = operator.post(f"/admin/apps_registry/app/{world.app.pk}/change/", form)

    turn.refresh_from_db()
    assert saved.status_code == 302
    assert (turn.name, turn.priority, turn.on_failure) == ("turn", "low", "stop")
