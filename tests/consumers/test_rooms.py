from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.consumers.actors import Phone, Service, entry, messages
from tests.consumers.conftest import House


async def test_a_device_joins_a_room_its_rights_allow(phone: Phone, game_service: Service) -> None:
    await game_service.http.post(
        "/api/v1/devices", json={"device": phone.name, "user": phone.user, "rooms": ["room:live-*"]}
    )
    socket, _ = await phone.connect()
    await game_service.publish("room:live-1", "gift", "before")

    joined = await socket.ask("join", stream="room:live-1")
    await game_service.publish("room:live-1", "gift", "after")

    assert (joined["type"], joined["cut"], joined["processed"]) == ("joined", 1, 1)
    assert [(one["offset"], one["data"]) for one in await socket.messages(1)] == [(2, "after")]


async def test_who_left_hears_nothing_more(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()

    left = await socket.ask("leave", stream=phone.room)
    await game_service.publish(phone.room, "gift")

    assert left["type"] == "left"
    assert await socket.quiet() == []


async def test_who_leaves_a_room_with_a_full_window_gets_what_waits_elsewhere(
    phone: Phone, game_service: Service
) -> None:
    socket, welcome = await phone.connect()
    window = welcome["window"]
    await game_service.publish_all(*[{"to": phone.room, "name": "gift", "data": n} for n in range(window)])
    await game_service.publish(phone.stream, data="waits")
    before = await socket.messages(window)

    await socket.send("leave", id=1, stream=phone.room)
    after = await socket.messages(1)

    assert {one["stream"] for one in before} == {phone.room}
    assert [one["data"] for one in after] == ["waits"]


async def test_a_service_puts_an_open_connection_into_a_room(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()

    await game_service.http.post(
        "/api/v1/devices", json={"device": phone.name, "user": phone.user, "streams": ["room:new"]}
    )
    joined = await socket.expect("joined")
    await game_service.publish("room:new", "gift", "welcome")

    assert joined["stream"] == "room:new"
    assert [one["data"] for one in messages([await socket.receive()])] == ["welcome"]


async def test_a_closed_room_says_so_after_its_last_message(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()
    await game_service.publish(phone.room, "gift", "last")

    closed = await game_service.http.post(f"/api/v1/streams/{phone.room}/close")
    frames = await socket.until("stream_closed")
    refused = await game_service.publish(phone.room, "gift")
    again, _ = await phone.connect(resume="replay")
    returned = await again.until("stream_closed")

    assert closed.status_code == 200, closed.text
    assert [one["data"] for one in messages(frames)] == ["last"]
    assert frames[-1]["head"] == 1
    assert refused["problem"]["code"] == "stream_closed"
    assert [one["data"] for one in messages(returned)] == ["last"]


async def test_a_purge_is_a_gap_for_who_was_away(phone: Phone, game_service: Service) -> None:
    await game_service.publish_all(*[{"to": phone.room, "name": "gift", "data": n} for n in range(5)])

    purged = await game_service.http.post(f"/api/v1/streams/{phone.room}/purge", json={"upto": 3})
    socket, _ = await phone.connect(resume="replay", positions={phone.room: {"processed": 1}})
    frames = await socket.caught_up()
    page = await phone.pending(stream=phone.room)

    assert purged.status_code == 200, purged.text
    gaps = [(f["stream"], f["from"], f["to"], f["reason"]) for f in frames if f["type"] == "gap"]
    assert gaps == [(phone.room, 2, 3, "purged")]
    assert [one["offset"] for one in messages(frames)] == [4, 5]
    assert page["gaps"] == [{"stream": phone.room, "from": 1, "to": 3, "reason": "purged"}]


async def test_what_was_purged_is_not_sent_any_more(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()
    await game_service.publish_all(*[{"to": phone.stream, "name": "turn", "data": n} for n in range(100)])
    await socket.messages(64)

    await game_service.http.post(f"/api/v1/streams/{phone.stream}/purge", json={"upto": 80})
    # Who holds the socket hears things in order: when it knows of this room, it knows of the purge.
    await game_service.http.put(f"/api/v1/streams/room:behind-{phone.name}/members/{phone.name}")
    await socket.expect("joined")
    await socket.send("ack", stream=phone.stream, upto=64)
    gap = await socket.expect("gap")
    rest = await socket.messages(20)

    assert (gap["from"], gap["to"], gap["reason"]) == (65, 80, "purged")
    assert [one["offset"] for one in rest] == list(range(81, 101))


async def test_who_was_away_pulls_the_rest_of_a_closed_room_and_its_closing(
    phone: Phone, game_service: Service
) -> None:
    await game_service.publish(phone.room, "gift", "last")
    await game_service.http.post(f"/api/v1/streams/{phone.room}/close")

    socket, welcome = await phone.connect(resume="pull")
    closing = await socket.expect("stream_closed")
    page = await phone.pending()

    assert entry(welcome, phone.room)["cut"] == closing["head"] == 1
    assert [one["data"] for one in page["messages"]] == ["last"]
    assert page["streams"][phone.room]["closed"] is True


async def test_a_newcomer_gets_as_much_of_the_past_as_the_service_says(phone: Phone, game_service: Service) -> None:
    room = f"room:show-of-{phone.name}"
    await game_service.publish_all(*[{"to": room, "name": "gift", "data": n} for n in range(1, 6)])
    socket, _ = await phone.connect(resume="replay")
    await socket.caught_up()

    put = await game_service.http.put(f"/api/v1/streams/{room}/members/{phone.name}", json={"last": 2})
    joined = await socket.until("joined")
    past = await socket.caught_up(1)
    await game_service.publish(room, "gift", 6)

    assert (put.json()["processed"], put.json()["cut"]) == (3, 5)
    assert joined[-1]["stream"] == room
    assert [one["data"] for one in messages(past)] == [4, 5]
    assert [one["data"] for one in await socket.messages(1)] == [6]


async def test_who_joins_by_itself_gets_as_much_of_the_past_as_the_room_says(
    phone: Phone, new_phone: Callable[..., Awaitable[Phone]], game_service: Service
) -> None:
    room = f"room:live-of-{phone.name}"
    said = await game_service.http.put(f"/api/v1/streams/{room}", json={"history": {"last": 2}})
    await game_service.publish_all(*[{"to": room, "name": "gift", "data": n} for n in range(1, 6)])
    guest = await new_phone()
    for one in (phone, guest):
        await game_service.http.post(
            "/api/v1/devices", json={"device": one.name, "user": one.user, "rooms": ["room:live-*"]}
        )
    socket, _ = await phone.connect(resume="replay")
    await socket.caught_up()

    joined = await socket.ask("join", stream=room)
    past = await socket.caught_up(1)
    over_http = await guest.http.put(f"/api/v1/me/streams/{room}")
    page = await guest.pending(stream=room)

    assert said.status_code == 201, said.text
    assert (joined["type"], joined["processed"], joined["cut"]) == ("joined", 3, 5)
    assert [one["data"] for one in messages(past)] == [4, 5]
    assert (over_http.json()["processed"], [one["data"] for one in page["messages"]]) == (3, [4, 5])


async def test_what_a_room_sheds_is_a_gap_to_its_members(phone: Phone, game_service: Service, house: House) -> None:
    """The rate of an app is the operator's: set here as the admin does."""
    house.set_room_rate(1)
    try:
        socket, _ = await phone.connect()
        items = await game_service.publish_all(*[{"to": phone.room, "name": "gift", "data": n} for n in range(1, 6)])
        frames = await socket.until("gap")
    finally:
        house.set_room_rate(None)

    assert [one.get("shed", False) for one in items] == [False, False, True, True, True]
    assert [one["offset"] for one in messages(frames)] == [1, 2]
    assert [(f["from"], f["to"], f["reason"]) for f in frames if f["type"] == "gap"] == [(3, 5, "shed")]
    about = await game_service.http.get(f"/api/v1/streams/{phone.room}")
    assert about.json()["shed"] == 3


async def test_joins_and_leaves_count_in_the_order_in_which_they_were_sent(phone: Phone, game_service: Service) -> None:
    """An app need not wait for the answers: a page that is left and entered again at once."""
    rights = {"device": phone.name, "user": phone.user, "rooms": ["room:live-*", phone.room]}
    await game_service.http.post("/api/v1/devices", json=rights)
    socket, _ = await phone.connect()

    for _ in range(10):
        await socket.send("join", id=1, stream="room:live-1")
        await socket.send("leave", id=2, stream="room:live-1")
        await socket.send("leave", id=3, stream=phone.room)
        await socket.send("join", id=4, stream=phone.room)
    answers = [(await socket.receive())["re"] for _ in range(40)]
    await game_service.publish("room:live-1", "gift", "not for it")
    await game_service.publish(phone.room, "gift", "for it")
    heard = await socket.messages(1)

    assert answers == [1, 2, 3, 4] * 10
    assert [one["data"] for one in heard] == ["for it"]
    assert await socket.quiet() == []
