"""The back end of the live-room scene: devices into a room, a show in it, the room as the server sees it, its end."""

from __future__ import annotations

import pytest
from django.test import Client

from apps_registry.models import App, Device
from messaging.models import Message, Stream, Subscription
from tests.demo.test_back_end import post

pytestmark = pytest.mark.usefixtures("demo")

ROOM = "room:show-x7k2"


def enter(browser: Client, device: str = "show-x7k2-a", room: str = ROOM):
    return post(browser, "/demo/live-room/device", {"device": device, "room": room})


def send(browser: Client, *names: str, room: str = ROOM):
    messages = [{"name": name, "data": {"n": n}} for n, name in enumerate(names)]
    return post(browser, "/demo/live-room/publish", {"room": room, "messages": messages})


def look(browser: Client, room: str = ROOM):
    return browser.get("/demo/live-room/room", {"room": room}).json()


# --- the page -------------------------------------------------------------------------------------------------------


def test_the_page_has_three_phones_and_a_policy_that_allows_nothing_inline(browser: Client) -> None:
    page = browser.get("/live-room/")

    assert page.content.count(b'data-testid="phone"') == 3
    assert "csrftoken" in page.cookies
    assert page["Content-Security-Policy"].startswith("default-src 'self'; connect-src 'self' ws://testserver ")
    assert b"style=" not in page.content
    assert b"<script>" not in page.content


def test_the_first_page_leads_to_it_and_it_leads_back(browser: Client) -> None:
    assert b'href="/live-room/"' in browser.get("/").content
    assert b'href="/"' in browser.get("/live-room/").content


def test_a_phone_may_use_another_address_that_is_listed(browser: Client, settings) -> None:
    settings.MEANWHILE_ORIGINS = ["http://127.0.0.1:9001"]

    page = browser.get("/live-room/", {"b": "http://127.0.0.1:9001"})

    assert b'data-phone="b" data-server="http://127.0.0.1:9001"' in page.content
    assert b'data-phone="a" data-server=""' in page.content
    assert " http://127.0.0.1:9001 " in page["Content-Security-Policy"]
    assert " ws://127.0.0.1:9001 " in page["Content-Security-Policy"]


@pytest.mark.parametrize("address", ["http://elsewhere.example", "http://127.0.0.1:9001; script-src *", "", "*"])
def test_a_token_goes_nowhere_that_is_not_listed(browser: Client, settings, address: str) -> None:
    settings.MEANWHILE_ORIGINS = ["http://127.0.0.1:9001"]

    page = browser.get("/live-room/", {"b": address})

    assert page.status_code == 403
    assert page.json()["code"] == "not_allowed"


# --- the room -------------------------------------------------------------------------------------------------------


def test_a_device_gets_a_token_and_is_in_its_room(browser: Client) -> None:
    answer = enter(browser)

    assert answer.status_code == 201
    device = Device.objects.get(app__name="live-room", name="show-x7k2-a")
    streams = Subscription.objects.for_device(device).values_list("stream__name", flat=True)
    assert sorted(streams) == ["device:show-x7k2-a", ROOM]


def test_a_show_is_stored_but_for_its_bullet_chat(browser: Client) -> None:
    enter(browser)

    answer = send(browser, "gift", "chat", "packet", "quiz", "command")

    assert answer.json() == {
        "service": "show",
        "items": [
            {"stream": ROOM, "offset": 1},
            {"stream": ROOM},
            {"stream": ROOM, "offset": 2},
            {"stream": ROOM, "offset": 3},
            {"stream": ROOM, "offset": 4},
        ],
    }
    assert list(Message.objects.order_by("offset").values_list("type__name", flat=True)) == [
        "gift",
        "packet",
        "quiz",
        "command",
    ]


def test_under_the_rate_chat_is_shed_first_then_gifts_and_commands_never(browser: Client) -> None:
    enter(browser)

    items = send(browser, *["chat"] * 30, *["gift"] * 30, "command").json()["items"]

    shed = [item.get("shed", False) for item in items]
    # 20 a second, two seconds at once, of which low ones may have one; a little drains while it runs
    assert not any(shed[:20])
    assert all(shed[25:30])
    assert not any(shed[30:50])
    assert all(shed[55:60])
    assert not shed[60]


def test_the_room_is_told_as_the_server_sees_it(browser: Client) -> None:
    enter(browser)
    enter(browser, "show-x7k2-b")
    send(browser, *["gift"] * 60)

    seen = look(browser)

    assert seen["head"] == 60
    assert 10 <= seen["shed"] <= 20
    assert 1.0 < seen["ahead"] <= seen["most_ahead"] == 2.0
    assert (seen["rate"], seen["low_ahead"], seen["closed"], seen["online"]) == (20, 1.0, False, 0)
    assert seen["devices"] == [
        {"device": "show-x7k2-a", "state": "offline", "received": 0, "processed": 0},
        {"device": "show-x7k2-b", "state": "offline", "received": 0, "processed": 0},
    ]


def test_a_room_that_nobody_has_been_in_is_none(browser: Client) -> None:
    assert look(browser, "room:show-none") is None
    assert not Stream.objects.filter(name="room:show-none").exists()


def test_closing_says_the_last_word_and_then_nothing_is_taken(browser: Client) -> None:
    enter(browser)

    first = post(browser, "/demo/live-room/close", {"room": ROOM})
    second = post(browser, "/demo/live-room/close", {"room": ROOM})

    assert first.json() == second.json() == {"room": ROOM, "closed": True}
    assert list(Message.objects.values_list("type__name", "payload")) == [("command", '{"do":"close"}')]
    assert send(browser, "gift").json()["items"][0]["problem"]["code"] == "stream_closed"
    assert look(browser)["closed"] is True


@pytest.mark.parametrize("room", ["room:lobby", "device:show-x", "room:show-", "room:show-a b", 7, None])
def test_other_rooms_are_refused(browser: Client, room: object) -> None:
    for path in ("device", "publish", "close"):
        answer = post(browser, f"/demo/live-room/{path}", {"device": "x", "room": room, "messages": [{"name": "gift"}]})
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert browser.get("/demo/live-room/room", {"room": str(room)}).status_code == 403
    assert not Device.objects.exists()


@pytest.mark.parametrize("messages", [None, [], {}, [{"name": "gift"}] * 101])
def test_a_publish_without_messages_is_refused(browser: Client, messages: object) -> None:
    answer = post(browser, "/demo/live-room/publish", {"room": ROOM, "messages": messages})

    assert answer.json()["code"] == "invalid"


@pytest.mark.parametrize("message", [7, {}, {"name": "room.online"}, {"name": "walk"}, {"name": ["gift"]}])
def test_what_a_show_does_not_send_is_refused(browser: Client, message: object) -> None:
    answer = post(browser, "/demo/live-room/publish", {"room": ROOM, "messages": [message]})

    assert answer.json()["code"] == "unknown_name"


# --- who may call ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["device", "publish", "close"])
def test_a_post_without_the_csrf_header_is_refused(path: str) -> None:
    stranger = Client(enforce_csrf_checks=True)
    stranger.get("/live-room/")

    assert post(stranger, f"/demo/live-room/{path}", {"room": ROOM}).status_code == 403


@pytest.mark.parametrize("path", ["/live-room/", "/demo/live-room/room"])
def test_without_the_flag_there_is_no_scene(client: Client, settings, path: str) -> None:
    settings.MEANWHILE_DEMO = False

    assert client.get(path, {"room": ROOM}).status_code == 404


def test_a_room_of_the_same_name_in_another_app_is_not_reached(browser: Client) -> None:
    Stream.objects.create(app=App.objects.create(name="other"), kind="room", name=ROOM)

    assert look(browser) is None
