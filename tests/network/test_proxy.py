"""The proxy breaks what it says it breaks, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field

import pytest

from tests.network.plan import BOTH, DOWN, UP, Fault
from tests.network.proxy import LATE, Proxy

#: Seconds: for what must come, and for what must not.
SOON, NEVER = 5.0, 0.1
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n"


@dataclass
class End:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hears(self, data: bytes) -> bool:
        """These very bytes come next."""
        return await within(self.reader.readexactly(len(data))) == data

    async def hears_nothing(self) -> bool:
        try:
            await asyncio.wait_for(self.reader.read(1), NEVER)
        except TimeoutError:
            return True
        return False

    async def ends(self) -> bool:
        return await within(self.reader.read()) == b""

    async def is_reset(self) -> bool:
        try:
            await within(self.reader.read())
        except ConnectionResetError:
            return True
        return False


async def within(work: Awaitable[bytes]) -> bytes:
    return await asyncio.wait_for(work, SOON)


@dataclass
class Place:
    """A server behind a proxy."""

    proxy: Proxy
    accepted: asyncio.Queue[End] = field(default_factory=asyncio.Queue)
    ends: list[End] = field(default_factory=list)

    async def connect(self) -> tuple[End, End]:
        """A device, and what the server has of it."""
        device = End(*await asyncio.open_connection("127.0.0.1", self.proxy.port))
        server = await asyncio.wait_for(self.accepted.get(), SOON)
        self.ends += [device, server]
        return device, server

    def strike(self, kind: str, way: str) -> Fault:
        fault = Fault(0, kind, way, 1)
        self.proxy.strike(fault)
        return fault


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    accepted: asyncio.Queue[End] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(End(reader, writer))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        proxy = await Proxy([server.sockets[0].getsockname()[1]], seed=1).open()
        made = Place(proxy, accepted)
        yield made
        await proxy.close()
        for end in made.ends:
            end.writer.close()
            with contextlib.suppress(OSError):
                await end.writer.wait_closed()


async def test_without_a_fault_everything_passes_and_so_does_the_end(place: Place) -> None:
    device, server = await place.connect()

    await device.say(b"x" * 200_000)
    assert await server.hears(b"x" * 200_000)
    device.writer.write_eof()
    assert await server.ends()
    await server.say(b"bye")
    server.writer.close()

    assert await device.hears(b"bye")
    assert await device.ends()
    assert not place.proxy.struck


async def test_a_cut_ends_both_sides_and_refuses_new_ones_until_it_is_over(place: Place) -> None:
    device, server = await place.connect()

    fault = place.strike("cut", BOTH)
    assert await device.ends()
    assert await server.ends()
    late = End(*await asyncio.open_connection("127.0.0.1", place.proxy.port))
    with contextlib.suppress(ConnectionResetError):
        assert await late.ends()
    place.proxy.end(fault)

    device, server = await place.connect()
    await device.say(b"again")
    assert await server.hears(b"again")


@pytest.mark.parametrize("way", [UP, DOWN])
async def test_a_black_hole_swallows_one_direction_for_ever(place: Place, way: str) -> None:
    device, server = await place.connect()
    lost, heard = (device, server) if way == UP else (server, device)

    place.strike("black_hole", way)
    await lost.say(b"lost")
    await heard.say(b"heard")
    assert await lost.hears(b"heard")
    place.proxy.heal()
    lost.writer.write_eof()

    assert await heard.hears_nothing()
    assert place.proxy.struck["black_hole"] == 1


async def test_a_connection_made_in_a_black_hole_stays_in_it_and_a_later_one_does_not(place: Place) -> None:
    place.strike("black_hole", BOTH)
    device, server = await place.connect()
    place.proxy.heal()
    await device.say(b"lost")
    await server.say(b"lost")
    fresh, its_server = await place.connect()
    await fresh.say(b"here")

    assert await its_server.hears(b"here")
    assert await server.hears_nothing()
    assert await device.hears_nothing()


@pytest.mark.parametrize("way", [UP, DOWN])
async def test_a_reset_is_heard_on_one_side_and_the_other_hears_nothing_ever(place: Place, way: str) -> None:
    device, server = await place.connect()
    reset, left = (server, device) if way == UP else (device, server)

    place.strike("reset", way)

    assert await reset.is_reset()
    await left.say(b"anybody?")
    assert await left.hears_nothing()


async def test_a_reset_both_ways(place: Place) -> None:
    device, server = await place.connect()

    place.strike("reset", BOTH)

    assert await device.is_reset()
    assert await server.is_reset()


@pytest.mark.parametrize("way", [UP, DOWN])
async def test_a_half_close_ends_one_direction_while_the_other_goes_on(place: Place, way: str) -> None:
    device, server = await place.connect()
    ended, other = (server, device) if way == UP else (device, server)

    place.strike("half_close", way)

    assert await ended.ends()
    await ended.say(b"still here")
    assert await other.hears(b"still here")


@pytest.mark.parametrize("way", [UP, DOWN])
async def test_a_dribble_is_one_byte_at_a_time(place: Place, way: str) -> None:
    device, server = await place.connect()
    sender, receiver = (device, server) if way == UP else (server, device)

    place.strike("dribble", way)
    await sender.say(bytes(range(200)))
    pieces = [await within(receiver.reader.read(1000))]
    while sum(map(len, pieces)) < 200:
        pieces.append(await within(receiver.reader.read(1000)))

    assert b"".join(pieces) == bytes(range(200))
    assert len(pieces) > 50


async def test_latency_makes_every_chunk_late_and_keeps_the_order(place: Place) -> None:
    device, server = await place.connect()

    place.strike("latency", DOWN)
    begin = time.monotonic()
    await server.say(b"one")
    await server.say(b"two")

    assert await device.hears(b"onetwo")
    assert time.monotonic() - begin >= LATE[0]


@pytest.mark.parametrize("way", [UP, DOWN])
async def test_what_is_frozen_comes_when_it_thaws(place: Place, way: str) -> None:
    device, server = await place.connect()
    frozen, other = (device, server) if way == UP else (server, device)

    fault = place.strike("freeze", way)
    await frozen.say(b"wait")
    await other.say(b"for me")
    assert await frozen.hears(b"for me")
    assert await other.hears_nothing()
    place.proxy.end(fault)

    assert await within(other.reader.readexactly(3)) in {b"wai", b"ait"}


@pytest.mark.parametrize("together", [True, False])
async def test_an_answer_is_cut_inside_its_body(place: Place, together: bool) -> None:
    device, server = await place.connect()
    await device.say(b"GET /api/v1/pending HTTP/1.1\r\nhost: here\r\n\r\n")
    await server.reader.readuntil(b"\r\n\r\n")

    place.strike("cut_in_body", DOWN)
    await server.say(ANSWER + b"x" * 20 if together else ANSWER)
    head = await within(device.reader.readexactly(len(ANSWER)))
    if not together:
        await server.say(b"x" * 20)

    assert head == ANSWER
    assert 0 < len(await within(device.reader.read())) < 20
    assert place.proxy.struck["cut_in_body"] == 1


async def test_a_request_is_cut_inside_its_body(place: Place) -> None:
    device, server = await place.connect()
    request = b"POST /api/v1/results HTTP/1.1\r\ncontent-type: application/json\r\n\r\n"

    place.strike("cut_in_body", UP)
    await device.say(request + b"y" * 20)

    assert await server.hears(request)
    assert 0 < len(await within(server.reader.read())) < 20


async def test_sockets_end_where_bodies_are_cut_so_that_something_is_asked_for(place: Place) -> None:
    device, server = await place.connect()
    await device.say(b"GET /ws/device HTTP/1.1\r\n\r\n")
    assert await server.hears(b"GET /ws/")

    place.strike("cut_in_body", DOWN)

    assert await device.ends()
    assert not place.proxy.struck


async def test_where_no_sockets_pass_requests_do(place: Place) -> None:
    open_one, server_of_it = await place.connect()
    await open_one.say(b"GET /ws/device HTTP/1.1\r\n\r\n")
    assert await server_of_it.hears(b"GET /ws/")

    place.strike("no_sockets", BOTH)
    assert await open_one.ends()
    device, server = await place.connect()
    await device.say(b"GET /ws/device HTTP/1.1\r\n\r\n")
    assert await device.ends()
    assert await server.ends()

    device, server = await place.connect()
    await device.say(b"GET /api/v1/me HTTP/1.1\r\n\r\n")
    assert await server.hears(b"GET /api/v1/me")
