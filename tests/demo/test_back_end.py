"""What the page's own back end does: a token, a publish, what the services heard."""

from __future__ import annotations

import pytest
from django.test import Client

from apps_registry.devices import open_token
from apps_registry.models import App, Device
from messaging.live.node import Node
from messaging.log.cursors import Report
from messaging.models import Message, Subscription
from messaging.protocol.rules import Segment

pytestmark = pytest.mark.usefixtures("demo")


def post(client: Client, path: str, body: object, **headers: str):
    return client.post(path, body, content_type="application/json", **headers)


def phone(browser: Client) -> Device:
    post(browser, "/demo/device", {"device": "browser-x7k2"})
    return Device.objects.get(app__name="demo", name="browser-x7k2")


# --- device ---------------------------------------------------------------------------------------------------------


def test_a_device_gets_a_token_and_is_in_its_own_stream_and_the_lobby(browser: Client) -> None:
    answer = post(browser, "/demo/device", {"device": "browser-x7k2"})

    assert answer.status_code == 201
    assert set(answer.json()) == {"device", "token", "expires_at"}
    device = open_token(answer.json()["token"]).device
    assert (device.app.name, device.name, device.platform) == ("demo", "browser-x7k2", "browser")
    streams = Subscription.objects.for_device(device).values_list("stream__name", flat=True)
    assert sorted(streams) == ["device:browser-x7k2", "room:lobby"]


def test_the_same_device_again_keeps_its_cursors(browser: Client) -> None:
    device = phone(browser)
    Subscription.objects.for_device(device).filter(stream__name="room:lobby").update(received=3, processed=3)

    post(browser, "/demo/device", {"device": "browser-x7k2"})

    assert Subscription.objects.get(device=device, stream__name="room:lobby").processed == 3


@pytest.mark.parametrize("body", [{}, {"device": 7}, {"device": "with space"}, {"device": ""}, [], 3])
def test_a_device_without_a_proper_name_is_refused(browser: Client, body: object) -> None:
    answer = post(browser, "/demo/device", body)

    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid"


# --- publish --------------------------------------------------------------------------------------------------------


def test_a_publish_is_stored_in_the_name_of_the_service_the_type_belongs_to(browser: Client) -> None:
    phone(browser)

    walk = post(browser, "/demo/publish", {"to": "device:browser-x7k2", "name": "walk", "data": {"steps": 1}})
    gift = post(browser, "/demo/publish", {"to": "room:lobby", "name": "gift", "data": {"from": "Ann"}})

    assert walk.json() == {"service": "game", "items": [{"stream": "device:browser-x7k2", "offset": 1}]}
    assert gift.json() == {"service": "room-host", "items": [{"stream": "room:lobby", "offset": 1}]}
    assert list(Message.objects.order_by("id").values_list("service__name", "payload")) == [
        ("game", '{"steps":1}'),
        ("room-host", '{"from":"Ann"}'),
    ]


def test_count_publishes_as_many_at_once(browser: Client) -> None:
    phone(browser)

    answer = post(
        browser, "/demo/publish", {"to": "device:browser-x7k2", "name": "walk", "data": {"steps": 1}, "count": 20}
    )

    assert [item["offset"] for item in answer.json()["items"]] == list(range(1, 21))


def test_weather_has_a_version_and_chat_leaves_nothing(browser: Client) -> None:
    weather = post(browser, "/demo/publish", {"to": "room:lobby", "name": "weather", "key": "sky", "data": "rain"})
    chat = post(browser, "/demo/publish", {"to": "room:lobby", "name": "chat", "data": "hi"})

    assert weather.json()["items"] == [{"stream": "room:lobby", "version": 1}]
    assert chat.json()["items"] == [{"stream": "room:lobby"}]
    assert Message.objects.count() == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"to": "room:lobby", "name": "unheard-of", "data": 1}, "unknown_name"),
        ({"to": "room:lobby", "name": ["gift"], "data": 1}, "unknown_name"),
        ({"to": "user:ann", "name": "gift", "data": 1}, "not_allowed"),
        ({"to": "room:other", "name": "gift", "data": 1}, "not_allowed"),
        ({"to": 1, "name": "gift", "data": 1}, "not_allowed"),
        ({"to": "room:lobby", "name": "gift", "data": 1, "count": 101}, "invalid"),
        ({"to": "room:lobby", "name": "gift", "data": 1, "count": 0}, "invalid"),
        ({"to": "room:lobby", "name": "gift", "data": 1, "count": "2"}, "invalid"),
        ({"to": "room:lobby", "name": "gift", "data": 1, "count": True}, "invalid"),
    ],
)
def test_what_the_demo_does_not_publish_is_refused(browser: Client, body: object, code: str) -> None:
    answer = post(browser, "/demo/publish", body)

    assert answer.status_code >= 400
    assert answer.json()["code"] == code
    assert Message.objects.count() == 0


def test_a_publish_to_a_device_that_is_not_there_says_so_in_its_item(browser: Client) -> None:
    answer = post(browser, "/demo/publish", {"to": "device:nobody", "name": "walk", "data": 1})

    assert answer.json()["items"][0]["problem"]["code"] == "unknown_device"


# --- results --------------------------------------------------------------------------------------------------------


def test_the_services_hear_what_became_of_their_messages(browser: Client, node: Node) -> None:
    device = phone(browser)
    post(browser, "/demo/publish", {"to": "device:browser-x7k2", "name": "walk", "data": {}, "count": 3})
    post(browser, "/demo/publish", {"to": "room:lobby", "name": "gift", "data": {}})
    node.journal.call(Report(device.pk, "device:browser-x7k2", 3, special={2: Segment(2, 2, "failed", "Stumbled", "")}))
    node.journal.call(Report(device.pk, "room:lobby", 1))

    answer = browser.get("/demo/results").json()

    told = [(item["service"], item["from"], item["upto"], item["status"], item["code"]) for item in answer["items"]]
    assert told == [
        ("game", 1, 1, "processed", ""),
        ("game", 2, 2, "failed", "Stumbled"),
        ("game", 3, 3, "processed", ""),
        ("room-host", 1, 1, "processed", ""),
    ]
    assert answer["after"] == "game:3,room-host:1,weather:0"


def test_results_go_on_where_the_last_answer_stopped(browser: Client, node: Node) -> None:
    device = phone(browser)
    post(browser, "/demo/publish", {"to": "device:browser-x7k2", "name": "walk", "data": {}, "count": 2})
    node.journal.call(Report(device.pk, "device:browser-x7k2", 1))
    after = browser.get("/demo/results").json()["after"]
    node.journal.call(Report(device.pk, "device:browser-x7k2", 2))

    answer = browser.get("/demo/results", {"after": after}).json()

    assert [(item["from"], item["upto"]) for item in answer["items"]] == [(2, 2)]
    assert browser.get("/demo/results", {"after": answer["after"]}).json()["items"] == []


def test_the_device_is_shown_as_the_server_sees_it(browser: Client) -> None:
    phone(browser)
    post(browser, "/demo/publish", {"to": "device:browser-x7k2", "name": "walk", "data": {}, "count": 20})
    for sky in ("rain", "snow", "sun"):
        post(browser, "/demo/publish", {"to": "room:lobby", "name": "weather", "key": "sky", "data": sky})

    seen = browser.get("/demo/results", {"device": "browser-x7k2"}).json()["device"]

    assert seen["state"] == "offline"
    own, lobby = seen["streams"]
    assert (own["stream"], own["processed"], own["head"], own["waiting"]) == ("device:browser-x7k2", 0, 20, 20)
    assert (lobby["stream"], lobby["waiting"], lobby["values"], lobby["updates"]) == ("room:lobby", 0, 1, 3)


@pytest.mark.parametrize("after", ["game", "game:x", "nobody:1", "game:-1", "game:" + "9" * 30])
def test_a_position_that_was_never_given_is_refused(browser: Client, after: str) -> None:
    assert browser.get("/demo/results", {"after": after}).status_code == 400


# --- who may call ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/demo/device", "/demo/publish"])
def test_a_post_without_the_csrf_header_is_refused(path: str) -> None:
    stranger = Client(enforce_csrf_checks=True)
    stranger.get("/")

    assert post(stranger, path, {"device": "browser-1"}).status_code == 403
    assert Device.objects.count() == 0


@pytest.mark.parametrize("path", ["/demo/device", "/demo/publish"])
def test_a_post_from_another_origin_is_refused(browser: Client, path: str) -> None:
    assert post(browser, path, {"device": "browser-1"}, HTTP_ORIGIN="https://elsewhere.example").status_code == 403
    assert Device.objects.count() == 0


def test_only_the_demo_app_is_reached(browser: Client) -> None:
    other = App.objects.create(name="other")
    Device.objects.create(app=other, name="phone")

    assert browser.get("/demo/results", {"device": "phone"}).json()["device"] is None
    answer = post(browser, "/demo/publish", {"to": "device:phone", "name": "walk", "data": 1})
    assert answer.json()["items"][0]["problem"]["code"] == "unknown_device"
