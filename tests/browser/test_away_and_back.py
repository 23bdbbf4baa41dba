"""The promise in one picture: what happened while the page was hidden stands on it afterwards, in order, once."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.chromium import cover

pytestmark = pytest.mark.browser


def publish(service: httpx.Client, stream: str, steps: range) -> list[int]:
    drafts = [{"to": stream, "name": "walk", "data": {"step": step}} for step in steps]
    answer = service.post("/api/v1/messages", json={"messages": drafts})
    assert answer.status_code == 200, answer.text
    return [item["offset"] for item in answer.json()["items"]]


def own_stream(page: Page) -> str:
    return f"device:{page.get_by_test_id('device').inner_text().strip()}"


def rows(page: Page, stream: str, first: int) -> list[tuple[int, str, str]]:
    """(offset, path, status) of the page's messages of a stream from an offset on, from top to bottom."""
    found = page.get_by_test_id("message").evaluate_all(
        "(rows) => rows.map(({dataset: d}) => [d.stream, Number(d.offset), d.path, d.status])"
    )
    return [(offset, path, status) for of, offset, path, status in found if of == stream and offset >= first]


def test_twenty_while_hidden_and_five_during_the_pull_stand_on_the_page_in_order(
    context: BrowserContext, page: Page, game_service: httpx.Client
) -> None:
    stream = own_stream(page)
    held: list[Route] = []
    released = False
    page.route("**/api/v1/pending*", lambda route: route.continue_() if released else held.append(route))

    front = cover(context)
    expect(page.get_by_test_id("state")).to_have_attribute("data-state", "background")
    assert page.evaluate("document.visibilityState") == "hidden"
    missed = publish(game_service, stream, range(20))
    with page.expect_request("**/api/v1/pending*"):
        page.bring_to_front()
    during = publish(game_service, stream, range(20, 25))
    buffered = page.get_by_test_id("cursor-buffered").and_(page.locator(f'[data-stream="{stream}"]'))
    expect(buffered).to_contain_text("5")
    before = rows(page, stream, missed[0])
    released = True
    for route in held:
        route.continue_()
    last = page.locator(f'[data-testid="message"][data-stream="{stream}"][data-offset="{during[-1]}"]')
    expect(last).to_have_attribute("data-status", "processed")
    front.close()

    assert before == [(offset, "merged", "buffered") for offset in during]
    assert rows(page, stream, missed[0]) == [
        *[(offset, "pulled", "processed") for offset in missed],
        *[(offset, "merged", "processed") for offset in during],
    ]
    expect(page.get_by_test_id("state")).to_have_attribute("data-state", "live")


def test_what_the_app_made_of_it_reaches_the_service(page: Page, game_service: httpx.Client) -> None:
    stream = own_stream(page)
    page.get_by_test_id("fail-next").click()

    (failing,) = publish(game_service, stream, range(1))
    (good,) = publish(game_service, stream, range(1, 2))
    row = page.locator(f'[data-testid="message"][data-stream="{stream}"][data-offset="{good}"]')
    expect(row).to_have_attribute("data-status", "processed")

    expect(page.locator(f'[data-testid="heard-row"][data-stream="{stream}"][data-status="failed"]')).to_have_count(1)
    feed = game_service.get("/api/v1/results", params={"limit": 1000}).json()["items"]
    told = {(row["from"], row["status"]) for row in feed if row["stream"] == stream}
    assert (failing, "failed") in told
    assert (good, "processed") in told


def test_a_reload_goes_on_where_the_page_was(page: Page, game_service: httpx.Client) -> None:
    stream = own_stream(page)
    first = publish(game_service, stream, range(3))
    row = page.locator(f'[data-testid="message"][data-stream="{stream}"][data-offset="{first[-1]}"]')
    expect(row).to_have_attribute("data-status", "processed")

    page.goto("about:blank")
    missed = publish(game_service, stream, range(4))
    page.go_back()
    row = page.locator(f'[data-testid="message"][data-stream="{stream}"][data-offset="{missed[-1]}"]')
    expect(row).to_have_attribute("data-status", "processed")

    assert own_stream(page) == stream
    assert [offset for offset, _, _ in rows(page, stream, missed[0])] == missed


def test_only_the_newest_weather_comes_back(context: BrowserContext, page: Page) -> None:
    page.get_by_test_id("background").click()
    expect(page.get_by_test_id("state")).to_have_attribute("data-state", "background")
    page.get_by_test_id("publish-weather").click()
    expect(page.get_by_test_id("publish-weather")).to_be_enabled()
    page.get_by_test_id("return").click()

    value = page.locator('[data-testid="message"][data-class="latest"]').last
    expect(value).to_have_attribute("data-coalesced", "5")
    assert page.locator('[data-testid="message"][data-class="latest"]').count() == 1
