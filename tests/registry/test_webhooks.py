"""Webhooks: where they may go, what their secrets are."""

from __future__ import annotations

import base64
import ipaddress
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from apps_registry import webhooks
from apps_registry.endpoints import address_problem, url_problem
from apps_registry.models import App, Service, Webhook

URL = "https://shop.example.com/hooks/meanwhile?from=push"


@pytest.fixture
def shop(db: None) -> Service:
    return Service.objects.create(app=App.objects.create(name="shop"), name="backend")


def create(service: Service, **told: object) -> Webhook:
    return webhooks.create(service=service, **{"url": URL, "events": ["results"], "position": 0, **told})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "http://127.0.0.1:9000/",
        "http://localhost/hook",
        "https://[2001:db8::1]:8443/x",
        "http://10.0.0.7/x",
        "https://xn--bcher-kva.example/",
        "https://shop.example.com",
    ],
)
def test_a_url_of_a_back_end_is_taken(url: str) -> None:
    assert url_problem(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example.com/hook",
        "ftp://shop.example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///path",
        "https://user:word@shop.example.com/",
        "https://user@shop.example.com/",
        "https://shop.example.com/#part",
        "https://shop.example.com:0/",
        "https://shop.example.com:99999/",
        "https://shop.example.com\\@evil.example.com/",
        "https://shop.example.com/a b",
        "https://shop.example.com/\r\nX-Evil: 1",
        "https://bücher.example/",
        "https://[::1",
        "https://shop.example.com/" + "x" * 2048,
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
    ],
)
def test_what_is_no_url_for_a_webhook_is_refused(url: str) -> None:
    assert url_problem(url)


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fe80::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_link_local_and_metadata_addresses_are_refused_in_every_disguise(text: str) -> None:
    assert address_problem(ipaddress.ip_address(text), private_allowed=True)


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1", "::ffff:10.0.0.1"]
)
def test_private_addresses_are_the_operators_choice(text: str) -> None:
    address = ipaddress.ip_address(text)

    assert address_problem(address, private_allowed=True) == ""
    assert address_problem(address, private_allowed=False)


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
def test_the_world_may_be_called(text: str) -> None:
    assert address_problem(ipaddress.ip_address(text), private_allowed=False) == ""


def test_a_secret_is_one_of_standard_webhooks(shop: Service) -> None:
    row = create(shop)

    assert row.secret.startswith("whsec_")
    assert len(base64.b64decode(row.secret.removeprefix("whsec_"))) == 32
    assert create(shop).secret != row.secret


def test_after_a_rotation_the_secret_before_signs_for_a_day_and_no_older_one(shop: Service) -> None:
    row = create(shop)
    first = row.secret

    second = webhooks.rotate_secret(webhook=row)
    assert (row.secret, row.old_secret) == (second, first)
    webhooks.rotate_secret(webhook=row)

    assert row.old_secret == second
    assert row.old_secret_until
    assert abs(row.old_secret_until - timezone.now() - timedelta(hours=24)) < timedelta(minutes=1)


@pytest.mark.parametrize("events", [[], ["everything"], ["results", "secrets"]])
def test_events_are_some_of_those_there_are(shop: Service, events: list[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        create(shop, events=events)

    assert list(refused.value.message_dict) == ["events"]


def test_a_service_has_no_more_than_so_many(shop: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "MOST_OF_A_SERVICE", 1)
    create(shop)

    with pytest.raises(ValidationError):
        create(shop)


def test_a_change_keeps_what_is_not_told_and_results_begin_where_it_says(shop: Service) -> None:
    row = create(shop, events=["gaps"])

    webhooks.change(webhook=row, events=["gaps", "results"], position=7)
    webhooks.change(webhook=row, url="https://other.example.com/", position=9)

    assert (row.url, row.events, row.position) == ("https://other.example.com/", ["results", "gaps"], 7)


def test_a_change_that_makes_no_sense_changes_nothing(shop: Service) -> None:
    row = create(shop)

    with pytest.raises(ValidationError):
        webhooks.change(webhook=row, url="gopher://shop.example.com/", position=0)

    row.refresh_from_db()
    assert row.url == URL


def test_switching_off_and_on_says_whether_somebody_was_first(shop: Service) -> None:
    row = create(shop)

    off = [webhooks.disable(webhook=row, reason="by a test"), webhooks.disable(webhook=row, reason="again")]
    reason = row.disabled_reason
    on = [webhooks.enable(webhook=row), webhooks.enable(webhook=row)]

    assert (off, reason, on) == ([True, False], "by a test", [True, False])
    assert (row.disabled_at, row.disabled_reason) == (None, "")
