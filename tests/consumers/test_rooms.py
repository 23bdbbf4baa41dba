from __future__ import annotations

from tests.consumers.actors import Phone, Service, messages


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
