"""The test client's two pages as pages: narrow screens, what went wrong, what is to be done next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chromium import cover
from tests.servers import Server

pytestmark = pytest.mark.browser

NARROW = (390, 844)


def resize(page: Page, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
    page.context.new_cdp_session(page).send("Emulation.setDeviceMetricsOverride", metrics)
    page.wait_for_function("(width) => innerWidth >= width", arg=width)


def beyond_the_edge(page: Page) -> int:
    """px that one would have to scroll to the right."""
    found: int = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return found


def break_publishes(page: Page) -> None:
    """And what the page asks by itself: the next answer of the server takes the alert away."""
    page.route("**/demo/**", lambda route: route.abort())


@pytest.fixture
def live_room(context: BrowserContext, demo: Server) -> Iterator[Page]:
    page = context.new_page()
    page.goto(f"{demo.base}/live-room/")
    for letter in "abc":
        expect(page.locator(f'[data-phone="{letter}"]')).to_have_attribute("data-state", "live")
    yield page
    page.close()


@pytest.mark.parametrize("width", [320, 390, 760, 900, 1280])
def test_nothing_lies_beyond_the_edge_of_the_screen_also_when_something_went_wrong(page: Page, width: int) -> None:
    with page.expect_response("**/publish"):
        page.get_by_test_id("publish-gift").click()
    break_publishes(page)
    page.get_by_test_id("publish-walk").click()
    expect(page.get_by_role("alert")).to_be_visible()

    resize(page, width, 800)

    assert beyond_the_edge(page) == 0


@pytest.mark.parametrize("width", [320, 390, 760, 900, 1280])
def test_nor_in_the_live_room(live_room: Page, width: int) -> None:
    break_publishes(live_room)
    live_room.get_by_test_id("send-gift").click()
    expect(live_room.get_by_role("alert")).to_be_visible()

    resize(live_room, width, 800)

    assert beyond_the_edge(live_room) == 0


def test_what_went_wrong_is_seen_where_the_button_is_that_was_pressed_and_moves_nothing(page: Page) -> None:
    resize(page, *NARROW)
    break_publishes(page)
    button = page.get_by_test_id("publish-chat")
    button.scroll_into_view_if_needed()
    before = button.bounding_box()

    button.click()

    expect(page.get_by_role("alert")).to_be_in_viewport()
    assert button.bounding_box() == before


def test_after_a_tab_that_was_hidden_the_steps_begin_with_the_first(
    page: Page, context: BrowserContext, demo: Server
) -> None:
    state = page.get_by_test_id("state")
    front = cover(context)
    expect(state).to_have_attribute("data-state", "background")
    demo.kill()
    expect(state).to_have_attribute("data-state", "waiting")
    demo.start()
    page.bring_to_front()
    expect(state).to_have_attribute("data-state", "live")
    front.close()

    expect(page.get_by_test_id("guide-1")).to_have_attribute("aria-current", "step")


def test_the_list_of_messages_follows_the_newest_also_when_it_has_become_smaller(page: Page) -> None:
    page.get_by_test_id("publish-burst").click()
    rows = page.get_by_test_id("message")
    expect(page.locator('[data-testid="message"][data-name="walk"]').first).to_be_visible()
    expect(page.locator('[data-testid="message"][data-name="sit"]')).to_have_count(1)
    page.evaluate("() => { document.getElementById('messages').style.maxHeight = '200px'; }")

    page.get_by_test_id("publish-gift").click()

    expect(rows.last).to_have_attribute("data-name", "gift")
    expect(rows.last).to_be_in_viewport()
    assert page.evaluate(
        "() => { const list = document.getElementById('messages');"
        " return list.scrollHeight - list.scrollTop - list.clientHeight < 2; }"
    )


def test_a_stream_that_only_had_values_does_not_say_that_nothing_was_sent(page: Page) -> None:
    lobby = page.locator('[data-testid="stream"][data-stream="room:lobby"]')
    page.get_by_test_id("publish-weather").click()
    expect(page.locator('[data-testid="message"][data-name="weather"]').last).to_be_visible()

    expect(lobby).not_to_contain_text("Nothing was sent")


def test_a_return_without_websockets_is_told_as_well(context: BrowserContext, demo: Server) -> None:
    page = context.new_page()
    page.add_init_script("window.WebSocket = class { constructor() { throw new Error('There is none.'); } };")
    page.goto(demo.base)
    expect(page.get_by_test_id("state")).to_have_attribute("data-state", "polling")
    page.get_by_test_id("guide-1").click()
    expect(page.get_by_test_id("state")).to_have_attribute("data-state", "background")
    page.get_by_test_id("guide-2").click()
    expect(page.get_by_test_id("waiting")).to_have_attribute("data-count", "20")
    page.get_by_test_id("guide-3").click()

    expect(page.get_by_test_id("summary")).to_have_attribute("data-waited", "20")
    page.close()
