from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.consumers.actors import Frame, Phone, Service, Socket, entry, messages

NewPhone = Callable[..., Awaitable[Phone]]


async def test_a_welcome_tells_the_position_of_every_stream_also_of_empty_ones(phone: Phone) -> None:
    _, welcome = await phone.connect(id=7)

    assert (welcome["re"], welcome["device"], welcome["generation"]) == (7, phone.name, 1)
    assert (welcome["state"], welcome["resume"], welcome["window"]) == ("foreground", "pull", 64)
    assert {one["stream"] for one in welcome["streams"]} == {phone.stream, f"user:{phone.user}", phone.room}
    own = entry(welcome, phone.stream)
    assert {name: own[name] for name in ("processed", "received", "cut", "head", "tail")} == {
        "processed": 0,
        "received": 0,
        "cut": 0,
        "head": 0,
        "tail": 1,
    }


async def test_a_message_goes_all_the_way_to_the_services_feed(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()

    item = await game_service.publish(phone.stream, "turn", {"to": "north"})
    pushed = await socket.expect("message")
    await socket.send("ack", stream=phone.stream, upto=1)
    saved = await socket.ask("results", stream=phone.stream, upto=1, values=[{"offset": 1, "value": {"x": 3}}])
    feed = await game_service.http.get("/api/v1/results", params={"limit": 1000})

    assert item == {"stream": phone.stream, "offset": 1}
    assert (pushed["offset"], pushed["name"], pushed["service"], pushed["data"]) == (
        1,
        "turn",
        "backend",
        {"to": "north"},
    )
    assert saved == {"type": "results_saved", "re": saved["re"], "stream": phone.stream, "processed": 1}
    mine = [row for row in feed.json()["items"] if row["device"] == phone.name]
    assert [(row["from"], row["upto"], row["status"], row["value"]) for row in mine] == [(1, 1, "processed", {"x": 3})]


async def test_messages_of_a_stream_arrive_in_order_without_holes(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()

    for start in range(0, 40, 10):
        await game_service.publish_all(*[{"to": phone.stream, "name": "turn", "data": start + n} for n in range(10)])
    got = await socket.messages(40)

    assert [(one["offset"], one["data"]) for one in got] == [(n + 1, n) for n in range(40)]


async def test_the_window_bounds_what_is_not_acknowledged(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()
    await game_service.publish_all(*[{"to": phone.stream, "name": "turn", "data": n} for n in range(100)])

    first = await socket.messages(64)
    await socket.send("ack", stream=phone.stream, upto=10)
    then = await socket.messages(10)
    await socket.send("ack", stream=phone.stream, upto=74)
    last = await socket.messages(26)

    assert [len(first), len(then), len(last)] == [64, 10, 26]
    assert [one["offset"] for one in first + then + last] == list(range(1, 101))


async def test_a_room_reaches_all_its_members_and_the_user_all_his_devices(
    new_phone: NewPhone, game_service: Service
) -> None:
    one, two = await new_phone(user="zoe"), await new_phone(user="zoe")
    here, _ = await one.connect()
    there, _ = await two.connect()

    await game_service.publish("user:zoe", "turn", "both")
    await game_service.publish(one.room, "gift", "one only")

    assert [m["data"] for m in await here.messages(2)] == ["both", "one only"]
    assert [m["data"] for m in await there.messages(1)] == ["both"]


async def test_a_transient_message_reaches_the_foreground_only(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()

    heard = await said_until_heard(socket, game_service, phone.room)
    await phone.notice(socket, "background")
    item = await game_service.publish(phone.room, "chat", "anybody?")
    await game_service.publish(phone.room, "gift", "what comes after it")
    told = await socket.receive()
    back = await phone.notice(socket, "foreground")

    assert item == {"stream": phone.room}
    assert (heard["name"], heard["data"]) == ("chat", "hello")
    assert [one["name"] for one in messages([told])] == ["gift"]
    assert entry(back, phone.room)["cut"] == 1
    assert await socket.quiet() == []


async def said_until_heard(socket: Socket, service: Service, room: str) -> Frame:
    """Now or never: said again where the service's process did not know of the connection at the other one yet."""
    for _ in range(100):
        await service.publish(room, "chat", "hello")
        heard = [frame for frame in await socket.quiet() if frame["type"] == "transient"]
        if heard:
            return heard[0]
    raise AssertionError("never heard")


async def test_a_failed_message_does_not_stop_the_stream(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()
    await game_service.publish_all(*[{"to": phone.stream, "name": "turn", "data": n} for n in range(3)])
    await socket.messages(3)

    failed = {"offset": 2, "status": "failed", "code": "KeyError", "detail": "no such door"}
    await socket.ask("results", stream=phone.stream, upto=3, exceptions=[failed])
    feed = await game_service.http.get("/api/v1/results", params={"limit": 1000})

    mine = [row for row in feed.json()["items"] if row["device"] == phone.name]
    assert [(row["from"], row["upto"], row["status"], row["code"]) for row in mine] == [
        (1, 1, "processed", ""),
        (2, 2, "failed", "KeyError"),
        (3, 3, "processed", ""),
    ]
    again = await socket.ask("results", stream=phone.stream, upto=3, exceptions=[failed])
    assert again["processed"] == 3


@pytest.mark.parametrize("path", ["acks", "results"])
async def test_what_a_device_says_over_http_opens_the_window_of_its_socket(
    path: str, phone: Phone, game_service: Service
) -> None:
    socket, _ = await phone.connect()
    await game_service.publish_all(*[{"to": phone.stream, "name": "turn", "data": n} for n in range(100)])
    await socket.messages(64)

    upto = {"stream": phone.stream, "upto": 64}
    await phone.http.post(f"/api/v1/{path}", json={"acks": [upto]} if path == "acks" else upto)

    assert [one["offset"] for one in await socket.messages(36)] == list(range(65, 101))
