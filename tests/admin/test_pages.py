"""Every page of the admin: no data of the apps, no error for odd addresses, few queries, nothing that fails."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.test import Client

from apps_registry.models import Device, Webhook
from messaging.log import sql
from messaging.models import Gap, Result, Resume, Stream, Subscription, WebhookDelivery
from messaging.webhooks import control
from tests.conftest import World

MONITORS = ("devicebacklog", "stream", "result", "resume", "gap", "appstorage", "webhookdelivery")
EDITED = ("app", "service", "servicekey", "messagetype", "device", "webhook")
SCRIPT = "<script>alert(1)</script>"
SECRET = "what only the app should read"


@pytest.fixture
def odd(world: World) -> dict[str, int]:
    """A row of each kind, with what should never have got in. → ids by model."""
    device = Device.objects.create(app=world.app, name=SCRIPT, user=f'">{SCRIPT}', platform="漢字" * 20)
    stream = Stream.objects.create(app=world.app, kind="room", name=f"room:{SCRIPT}", head=5, shed=3)
    Subscription.objects.create(device=device, stream=stream, stopped_at=1)
    many = [
        Gap(stream=stream, from_offset=n, to_offset=n, reason="expired", created_at=sql.now()) for n in (1, 2, 4, 5)
    ]
    Gap.objects.bulk_create(many)
    now = sql.now()
    result = Result.objects.create(
        device=device,
        stream=stream,
        from_offset=1,
        upto=1,
        status="failed",
        code=SCRIPT,
        detail=SCRIPT + "\n\x1b[31m" + "ü" * 900,
        value=f'"{SECRET}"',
        reported_at=now,
    )
    resume = Resume.objects.create(device=device, generation=1, mode="pull", cause="notice", started_at=now)
    gap = Gap.objects.create(stream=stream, from_offset=1, to_offset=3, reason="shed", created_at=now)
    hook = control.create(service=world.game, url="https://game.example.com/hook", events=["results"])
    Webhook.objects.update(disabled_at=now, disabled_reason=SCRIPT)
    delivery = WebhookDelivery.objects.create(
        webhook=hook,
        message_id="msg_1",
        event="results",
        created_at=now,
        failed_at=now,
        next_attempt_at=now,
        last_error=SCRIPT,
        body=f'{{"data":"{SECRET}"}}',
    )
    rows = (stream, result, resume, gap, delivery)
    return {"devicebacklog": device.pk, **{row._meta.model_name: row.pk for row in rows}}


@pytest.mark.parametrize("who", ["operator", "viewer"])
@pytest.mark.parametrize("model", [name for name in MONITORS if name != "appstorage"])
def test_odd_rows_are_shown_as_text_and_what_is_of_the_app_not_at_all(
    who: str, request: pytest.FixtureRequest, odd: dict[str, int], model: str
) -> None:
    client: Client = request.getfixturevalue(who)

    for tail in ("", f"{odd[model]}/change/", f"{odd[model]}/history/"):
        page = client.get(f"/admin/messaging/{model}/{tail}")
        text = page.content.decode()

        assert page.status_code == 200, tail
        assert "alert(1)</script>" not in text, tail
        assert SECRET not in text, tail


@pytest.mark.parametrize("id", ["0", "abc", "²", "٣", "9" * 30, "%00", "-1"])
@pytest.mark.parametrize("model", MONITORS)
def test_an_address_of_nothing_leads_back_to_the_overview(operator: Client, world: World, model: str, id: str) -> None:
    assert operator.get(f"/admin/messaging/{model}/{id}/change/").status_code == 302


def test_an_odd_place_to_go_back_to_is_no_place(operator: Client, world: World) -> None:
    phone = world.device("phone")

    done = operator.post(
        "/admin/messaging/devicebacklog/", {"action": "disconnect", "_selected_action": phone.pk, "back": "²"}
    )

    assert (done.status_code, done["Location"]) == (302, "/admin/messaging/devicebacklog/")


def listed(client: Client, app: str, model: str) -> Any:
    page = client.get(f"/admin/{app}/{model}/")
    assert page.status_code == 200
    return page


@pytest.mark.parametrize("model", EDITED)
def test_every_list_of_the_registry_costs_the_same_however_long_it_is(
    operator: Client, world: World, model: str, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        world.device(f"phone-{number}")
        if number < 5:
            control.create(service=world.game, url=f"https://{number}.example.com/", events=["results"])

    with django_assert_max_num_queries(10):
        listed(operator, "apps_registry", model)


@pytest.mark.parametrize("model", MONITORS)
def test_every_monitor_costs_the_same_however_long_it_is(
    operator: Client, world: World, odd: dict[str, int], model: str, django_assert_max_num_queries: Any
) -> None:
    device, stream, now = Device.objects.get(), Stream.objects.get(), sql.now()
    for number in range(20):
        other = world.device(f"phone-{number}", rooms=(f"room:{number}",))
        Result.objects.create(
            device=other, stream=stream, from_offset=1, upto=1, status="processed", reported_at=now, service=world.game
        )
        Resume.objects.create(device=device, generation=1, mode="pull", cause="connect", started_at=now)
        Gap.objects.create(stream=stream, from_offset=1, to_offset=3, reason="shed", created_at=now)

    with django_assert_max_num_queries(12):
        listed(operator, "messaging", model)


def links(page: str) -> list[str]:
    return [html.unescape(found) for found in re.findall(r'href="(/admin/[^"]+)"', page)]


def test_every_link_of_a_device_and_of_its_streams_leads_somewhere(operator: Client, odd: dict[str, int]) -> None:
    device = operator.get(f"/admin/messaging/devicebacklog/{odd['devicebacklog']}/change/").content.decode()
    stream = operator.get(f"/admin/messaging/stream/{odd['stream']}/change/").content.decode()

    assert f"/admin/messaging/stream/{odd['stream']}/change/" in links(device)
    assert f"/admin/apps_registry/device/{odd['devicebacklog']}/change/" in links(device)
    assert device.count("▲ gap") == 3
    assert f"/admin/messaging/gap/?stream__id__exact={odd['stream']}" in links(device)
    assert f"/admin/messaging/gap/?stream__id__exact={odd['stream']}" in links(stream)
    assert f"/admin/messaging/result/?stream__id__exact={odd['stream']}&status=problem" in links(stream)
    for link in {*links(device), *links(stream)}:
        page = operator.get(link)
        assert (page.status_code, "e=1" in page.headers.get("Location", "")) == (200, False), link
