"""How much of what it may store an app has stored."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from apps_registry.models import App, Device
from messaging.log import storage
from tests.conftest import World


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def test_the_operator_sees_what_an_app_has_stored_and_sets_what_it_may(
    operator: Client, world: World, phone: Device
) -> None:
    world.publish("device:phone", payload='"' + "x" * 1946 + '"')
    with transaction.atomic():
        storage.add_up()
    default = operator.get("/admin/messaging/appstorage/").content.decode()
    calm = operator.get("/admin/").content.decode()

    page = operator.get(f"/admin/apps_registry/app/{world.app.pk}/change/")
    form = {name: value for name, value in page.context["adminform"].form.initial.items() if value is not None}
    inlines = {}
    for inline in page.context["inline_admin_formsets"]:
        for one in (inline.formset.management_form, *inline.formset.forms):
            inlines.update({one.add_prefix(name): one.get_initial_for_field(f, name) for name, f in one.fields.items()})
    told = {name: value for name, value in {**form, **inlines}.items() if value not in (None, False)}
    saved = operator.post(
        f"/admin/apps_registry/app/{world.app.pk}/change/", {**told, "storage_limit": "2048"}, follow=True
    )

    full = operator.get("/admin/messaging/appstorage/").content.decode()
    assert saved.status_code == 200
    assert App.objects.get(pk=world.app.pk).storage_limit == 2048
    assert ("2.0\xa0KB" in default, "10.0\xa0GB" in default, "0%" in default) == (True, True, True)
    assert "100%" in full
    alarm = "apps whose storage is full"
    assert (alarm in calm, alarm in operator.get("/admin/").content.decode()) == (False, True)


def test_the_monitor_changes_nothing(operator: Client, world: World, phone: Device) -> None:
    world.publish("device:phone")
    with transaction.atomic():
        storage.add_up()

    assert operator.post(f"/admin/messaging/appstorage/{world.app.pk}/change/", {"stored": 0}).status_code == 403
    assert storage.used(world.app.pk) == 101
