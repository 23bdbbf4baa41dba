from __future__ import annotations

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


def test_the_page_is_served_with_a_csrf_cookie_and_a_policy_that_allows_nothing_inline(client: Client) -> None:
    page = client.get("/")

    assert page.status_code == 200
    assert "csrftoken" in page.cookies
    assert "default-src 'self'" in page["Content-Security-Policy"]
    assert "unsafe-inline" not in page["Content-Security-Policy"]


def test_the_page_has_no_inline_script_or_style_and_loads_nothing_from_elsewhere(client: Client) -> None:
    text = client.get("/").content.decode()

    assert "<script>" not in text
    assert "style=" not in text
    assert "<style" not in text
    assert 'src="http' not in text
    assert 'href="http' not in text


def test_without_the_flag_a_plain_page_says_that_meanwhile_runs(client: Client, settings) -> None:
    settings.MEANWHILE_DEMO = False

    page = client.get("/")

    assert page.status_code == 200
    assert b"Meanwhile runs." in page.content
    assert b"<script" not in page.content
    assert b'href="/admin/"' in page.content
    assert b'href="/api/docs"' in page.content


@pytest.mark.parametrize("path", ["/demo/device", "/demo/publish", "/demo/results"])
def test_without_the_flag_nothing_of_demo_is_there(client: Client, settings, path: str) -> None:
    settings.MEANWHILE_DEMO = False

    assert client.get(path).status_code == 404
    assert client.post(path, {}, content_type="application/json").status_code == 404


def test_without_the_app_the_page_is_told_to_set_it_up(client: Client) -> None:
    answer = client.post("/demo/device", {"device": "browser-1"}, content_type="application/json")

    assert answer.status_code == 404
    assert "setup_demo" in answer.json()["detail"]
