"""CN111669438B: a member's connection dies, the room goes on; who comes back misses nothing of the first type."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.consumers.actors import Frame, Phone, Service, Socket, messages
from tests.consumers.cable import Cable
from tests.consumers.conftest import House


@pytest.fixture
async def cable(house: House) -> AsyncIterator[Cable]:
    laid = await Cable(house.base).lay()
    yield laid
    await laid.close()


async def hello(phone: Phone, base: str, **members: object) -> tuple[Socket, Frame]:
    socket = await Socket.open(base, "/ws/device")
    phone.sockets.append(socket)
    phone.seq += 1
    await socket.send("hello", token=phone.token, state_seq=phone.seq, resume="replay", **members)
    return socket, await socket.expect("welcome")


async def gifts_and_commands(service: Service, room: str) -> list[tuple[str, int]]:
    """A hundred gifts and three commands with bullet chat between them. → (name, data) of what must arrive."""
    drafts = []
    for n in range(1, 101):
        drafts += [{"to": room, "name": "gift", "data": n}, {"to": room, "name": "chat", "data": f"hello {n}"}]
        if n % 40 == 0 or n == 100:
            drafts.append({"to": room, "name": "command", "data": n})
    for start in range(0, len(drafts), 20):
        await service.publish_all(*drafts[start : start + 20])
    return [(draft["name"], draft["data"]) for draft in drafts if draft["name"] != "chat"]


async def caught_up_in(socket: Socket, room: str) -> list[Frame]:
    """All frames until the room is caught up; what comes is acknowledged, so that the window stays open."""
    frames: list[Frame] = []
    while not (frames and frames[-1]["type"] == "caught_up" and frames[-1]["stream"] == room):
        frames.append(await socket.receive())
        for one in messages(frames[-1:]):
            await socket.send("ack", stream=one["stream"], upto=one["offset"])
    return frames


async def test_what_went_by_while_the_connection_was_dead_is_found_in_order(
    phone: Phone, game_service: Service, house: House, cable: Cable
) -> None:
    await game_service.http.post("/api/v1/types", json={"name": "command", "delivery": "every", "priority": "control"})
    socket, _ = await hello(phone, cable.base)
    await caught_up_in(socket, phone.room)
    await game_service.publish(phone.room, "gift", 0)
    (before,) = await socket.messages(1)
    position = {"processed": before["offset"]}

    cable.cut()
    await socket.send("ping", id=1)
    sent = await gifts_and_commands(game_service, phone.room)
    dead = await socket.is_dead()  # the pong does not come
    again, welcome = await hello(phone, house.servers[-1].base, positions={phone.room: position})
    frames = await caught_up_in(again, phone.room)
    await game_service.publish(phone.room, "gift", 101)
    live = await again.messages(1)

    assert dead
    assert len(sent) == 103
    assert welcome["generation"] == 2
    assert [(one["name"], one["data"]) for one in messages(frames)] == sent
    assert [one["offset"] for one in messages(frames)] == list(range(2, 105))
    assert not [frame for frame in frames if frame["type"] in {"transient", "gap"}]
    assert [(one["offset"], one["data"]) for one in live] == [(105, 101)]
