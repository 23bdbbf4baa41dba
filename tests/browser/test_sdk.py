"""The SDK alone, on an empty page: tabs that are one device, and a network without WebSockets."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.conftest import service_of
from tests.servers import Server
from tests.waiting import until as wait_until

pytestmark = pytest.mark.browser

CLIENT = (Path(__file__).parent / "sdk.js").read_text()


@dataclass
class Phone:
    """A device of the demo's app, and what is published to it."""

    service: httpx.Client
    name: str
    token: str

    def publish(self, count: int, to: str = "") -> None:
        drafts = [{"to": to or f"device:{self.name}", "name": "walk", "data": step} for step in range(count)]
        assert self.service.post("/api/v1/messages", json={"messages": drafts}).status_code == 200

    def open(self, page: Page, **options: Any) -> None:
        page.goto(f"{self.service.base_url}/healthz")
        page.evaluate(CLIENT, {"name": self.name, "token": self.token, "options": options})

    def handled(self, page: Page) -> list[list[Any]]:
        found: list[list[Any]] = page.evaluate("(name) => JSON.parse(localStorage.getItem(name) ?? '[]')", self.name)
        return found


@pytest.fixture
def phone(demo: Server) -> Iterator[Phone]:
    name = f"phone-{uuid.uuid4().hex[:8]}"
    with service_of(demo, "demo", "game", "publish", "read", "manage") as service:
        token = service.post("/api/v1/devices", json={"device": name, "user": name}).json()["token"]
        yield Phone(service, name, token)


@pytest.fixture
def tab(context: BrowserContext) -> Iterator[Any]:
    pages: list[Page] = []

    def new() -> Page:
        pages.append(context.new_page())
        pages[-1].bring_to_front()
        return pages[-1]

    yield new
    for page in pages:
        page.close()


def until(page: Page, expression: str, argument: Any = None) -> None:
    page.wait_for_function(expression, arg=argument, timeout=15_000, polling=50)  # hidden pages draw no frames


def until_handled(page: Page, phone: Phone, count: int) -> None:
    until(
        page,
        "([name, count]) => JSON.parse(localStorage.getItem(name) ?? '[]').length >= count"
        " && window.device.inspect().unsavedResults === 0",
        [phone.name, count],
    )


def until_state(page: Page, state: str) -> None:
    until(page, "(state) => window.device.inspect().state === state", state)


def until_received(phone: Phone, offset: int) -> None:
    """The server has the receipt."""

    def received() -> bool:
        state = phone.service.get(f"/api/v1/messages/device:{phone.name}/{offset}").json()
        return bool(state["items"][0]["received"])

    wait_until(received, f"{offset} is received")


def test_the_tab_in_front_leads_and_when_it_is_closed_the_other_goes_on_each_message_handled_once_in_order(
    tab: Any, phone: Phone
) -> None:
    first = tab()
    phone.open(first, tabs="share", tab="first")
    until_state(first, "live")
    phone.publish(5)
    until_handled(first, phone, 5)

    second = tab()
    phone.open(second, tabs="share", tab="second")
    until_state(second, "live")
    phone.publish(5)
    until_handled(second, phone, 10)
    until(first, "() => window.copies.length === 5")
    state_of_the_first = first.evaluate("() => window.device.inspect().state")

    second.evaluate("() => { window.hangFrom = 11; }")
    phone.publish(5)
    until(second, "() => window.begun === 11")
    second.close()
    phone.publish(5)
    until_handled(first, phone, 20)

    assert state_of_the_first == "follower"
    assert first.evaluate("() => window.copies.slice(0, 5)") == [6, 7, 8, 9, 10]
    assert phone.handled(first) == [
        *[["first", offset] for offset in range(1, 6)],
        *[["second", offset] for offset in range(6, 11)],
        *[["first", offset] for offset in range(11, 21)],
    ]
    until_state(first, "live")


def test_a_leader_that_the_browser_freezes_hands_on_and_follows_when_it_wakes(
    context: BrowserContext, tab: Any, phone: Phone
) -> None:
    second = tab()
    phone.open(second, tabs="share", tab="second")
    until_state(second, "live")
    first = tab()
    phone.open(first, tabs="share", tab="first")
    until_state(first, "live")
    phone.publish(3)
    until_handled(first, phone, 3)
    front = tab()
    until_state(first, "background")

    browser = context.new_cdp_session(first)
    browser.send("Page.setWebLifecycleState", {"state": "frozen"})
    until_state(second, "background")
    second.bring_to_front()
    phone.publish(3)
    until_handled(second, phone, 6)
    browser.send("Page.setWebLifecycleState", {"state": "active"})
    until_state(first, "follower")
    phone.publish(3)
    until_handled(second, phone, 9)
    front.close()

    assert phone.handled(second) == [
        *[["first", offset] for offset in range(1, 4)],
        *[["second", offset] for offset in range(4, 10)],
    ]


def test_without_websockets_it_polls_and_goes_back_to_the_socket_with_nothing_lost_or_doubled(
    tab: Any, phone: Phone
) -> None:
    page = tab()
    phone.publish(3)
    phone.open(page, blocked=True)
    until_state(page, "polling")
    phone.publish(3)
    until_handled(page, phone, 6)

    page.evaluate("() => { window.blocked = false; window.dispatchEvent(new Event('online')); }")
    phone.publish(3)
    until_state(page, "live")
    phone.publish(3)
    until_handled(page, phone, 12)

    handled = phone.handled(page)
    assert [offset for _, offset in handled] == list(range(1, 13))
    assert [path for path, _ in handled[:6]] == ["pulled"] * 6
    assert handled[-1][0] == "live"
    feed = phone.service.get("/api/v1/results", params={"limit": 1000}).json()["items"]
    reported = [row for row in feed if row["device"] == phone.name]
    assert [offset for row in reported for offset in range(row["from"], row["upto"] + 1)] == list(range(1, 13))


def test_without_websockets_rooms_are_joined_and_left_all_the_same(tab: Any, phone: Phone) -> None:
    page = tab()
    room = f"room:live-{phone.name}"
    phone.service.post("/api/v1/devices", json={"device": phone.name, "user": phone.name, "rooms": ["room:live-*"]})
    phone.open(page, blocked=True)
    until_state(page, "polling")

    joined = page.evaluate("async (room) => await window.device.join(room)", room)
    phone.publish(2, to=room)
    until_handled(page, phone, 2)
    page.evaluate("async (room) => await window.device.leave(room)", room)
    phone.publish(1, to=room)
    phone.publish(1)
    until_handled(page, phone, 3)
    refused = page.evaluate("async () => await window.device.join('room:vip').catch(({ code }) => code)")

    assert (joined["stream"], joined["cut"]) == (room, 0)
    assert phone.handled(page) == [["pulled", 1], ["pulled", 2], ["pulled", 1]]
    assert list(page.evaluate("() => Object.keys(window.device.inspect().streams)")) == [
        f"device:{phone.name}",
        f"user:{phone.name}",
    ]
    assert refused == "not_allowed"


def test_a_stream_whose_handler_hangs_holds_up_no_other_stream_also_after_a_reload(tab: Any, phone: Phone) -> None:
    page = tab()
    phone.open(page, resume="replay", hangFrom=1)
    until_state(page, "live")
    phone.publish(100)
    until(page, "(stream) => window.device.inspect().streams[stream].received === 100", f"device:{phone.name}")
    until_received(phone, 100)

    phone.open(page, resume="replay", hangFrom=1)
    until(page, "() => window.begun === 1")
    phone.publish(3, to=f"user:{phone.name}")

    until(page, "(name) => JSON.parse(localStorage.getItem(name) ?? '[]').length === 3", phone.name)
    assert [offset for _, offset in phone.handled(page)] == [1, 2, 3]
