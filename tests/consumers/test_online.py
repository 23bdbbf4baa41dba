"""How many are in a room, as its members are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.consumers.actors import Phone, Service, Socket

NewPhone = Callable[..., Awaitable[Phone]]
COUNTING = {"name": "room.online", "delivery": "latest"}

pytestmark = pytest.mark.usefixtures("counting")


@pytest.fixture
async def counting(game_service: Service) -> AsyncIterator[None]:
    """The app counts; afterwards the house's other tests are told no counts."""
    await game_service.http.post("/api/v1/types", json=COUNTING)
    yield
    await game_service.http.post("/api/v1/types", json={**COUNTING, "delivery": "transient"})


async def member(new_phone: NewPhone, service: Service, room: str) -> Phone:
    """Another phone in the room, not connected yet."""
    made = await new_phone()
    await service.http.put(f"/api/v1/streams/{room}/members/{made.name}")
    return made


async def count(socket: Socket, room: str) -> int:
    """The next count of the room."""
    while True:
        frame = await socket.receive()
        if frame["type"] == "latest" and (frame["stream"], frame["name"]) == (room, COUNTING["name"]):
            found: int = frame["data"]["online"]
            return found


async def test_a_room_knows_how_many_are_there(phone: Phone, new_phone: NewPhone, game_service: Service) -> None:
    guest = await member(new_phone, game_service, phone.room)

    socket, _ = await phone.connect()
    alone = await count(socket, phone.room)
    other, _ = await guest.connect()
    both = await count(socket, phone.room)
    await other.close()
    left = await count(socket, phone.room)

    assert (alone, both, left) == (1, 2, 1)


async def test_who_leaves_counts_no_more_and_is_told_no_count(
    phone: Phone, new_phone: NewPhone, game_service: Service
) -> None:
    guest = await member(new_phone, game_service, phone.room)
    socket, _ = await phone.connect()
    other, _ = await guest.connect()
    while await count(socket, phone.room) != 2:
        pass

    await other.send("leave", id=1, stream=phone.room)
    await other.until("left")
    after = await count(socket, phone.room)

    assert after == 1
    assert [f for f in await other.quiet() if f.get("stream") == phone.room] == []


async def test_a_reconnect_does_not_make_the_count_flap(
    phone: Phone, new_phone: NewPhone, game_service: Service
) -> None:
    guest, third = [await member(new_phone, game_service, phone.room) for _ in range(2)]
    socket, _ = await phone.connect()
    other, _ = await guest.connect()
    while await count(socket, phone.room) != 2:
        pass

    for _ in range(3):
        await other.close()
        other, _ = await guest.connect()
    await third.connect()

    assert await count(socket, phone.room) == 3, "nothing was said in between"
