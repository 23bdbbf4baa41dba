"""Clients that do not read, flood, or send what is no frame: they harm themselves alone (P8, 05-failures 21 and 29)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.consumers.actors import Service, Socket, messages
from tests.faults import junk
from tests.faults.raw import PING, RawClient, frame
from tests.servers import PLAIN, Server

MUTE = 50
#: What the server may grow by because of them (MB).
MOST = 64
ENVIRONMENT = {"LOG_LEVEL": "WARNING", "MEANWHILE_HELLO_TIMEOUT": "2"}
#: Seconds a connection may take nothing.
STALL = 1.0
pytestmark = pytest.mark.faults


class House:
    def __init__(self, server: Server, key: str) -> None:
        self.server = server
        self.key = key

    async def tokens(self, *names: str, room: str) -> list[str]:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(verify=PLAIN, base_url=self.server.base, headers=headers, timeout=30) as http:
            answers = [await http.post("/api/v1/devices", json={"device": name, "streams": [room]}) for name in names]
        return [answer.json()["token"] for answer in answers]

    async def phone(self, name: str, room: str) -> Socket:
        """One that reads and answers as it should."""
        (token,) = await self.tokens(name, room=room)
        socket = await Socket.open(self.server.base, "/ws/device", max_queue=None)
        await socket.send("hello", token=token, state_seq=1)
        await socket.caught_up(2)
        return socket

    def memory(self) -> float:
        """What the server holds itself (MB), without the database file that it maps."""
        assert self.server.process
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        found = re.search(r"RssAnon:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    server = Server(tmp_path_factory.mktemp(request.param), kind=request.param, environment=dict(ENVIRONMENT))
    key = server.prepare()
    server.start()
    yield House(server, key)
    log = (server.folder / f"{server.kind}.log").read_text(errors="replace")
    server.dispose()
    assert not re.findall(r"(?m)^.*(?:ERROR (?!uvicorn)|ASGI app|inside application|Unhandled).*(?:\n.*){12}", log)


@pytest.fixture
async def game_service(house: House) -> AsyncIterator[Service]:
    service = await Service(house.server.base, house.key).connect()
    yield service
    await service.close()


async def mute(house: House, token: str) -> RawClient:
    """A device that has been let in and reads nothing any more."""
    client = await RawClient.open(house.server.port, buffer=4096)
    client.say("hello", token=token, state_seq=1)
    await client.until("welcome")
    client.stop_reading()
    return client


async def take(phone: Socket, stream: str, upto: int) -> list[float]:
    """Reads up to an offset and acknowledges as the SDK does, some at a time; → when each came."""
    came: list[float] = []
    acknowledged = 0
    while len(came) < upto:
        for item in messages([await phone.receive()]):
            assert item["offset"] == len(came) + 1
            came.append(time.monotonic())
        if len(came) - acknowledged >= 10:
            acknowledged = len(came)
            await phone.send("ack", stream=stream, upto=acknowledged)
    return came


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
async def test_fifty_clients_that_do_not_read_cost_little_and_hold_up_nobody(
    house: House, game_service: Service
) -> None:
    room = "room:crowd"
    tokens = await house.tokens(*(f"mute-{n}" for n in range(MUTE)), room=room)
    deaf = [await mute(house, token) for token in tokens]
    reader = await house.phone("reader", room)
    before = house.memory()
    reading = asyncio.create_task(take(reader, room, 400))

    said = []
    for number in range(400):
        said.append(time.monotonic())
        await game_service.publish(room, "gift", "x" * 32_000)
        if number % 2 and house.server.kind == "uvicorn":
            await game_service.publish(room, "weather", "y" * 8_000, key=f"key-{number % 100}")
    came = await reading
    after = house.memory()

    for client in deaf:
        client.abort()
    await reader.close()
    late = max(there - here for here, there in zip(said, came, strict=True))
    assert after - before < MOST
    assert late < 5


# LIMIT: daphne takes whatever it is given; docs/explanation/guarantees.md, P8.
@pytest.mark.parametrize("house", ["uvicorn"], indirect=True)
async def test_values_and_chat_for_clients_that_do_not_read_do_not_pile_up(house: House, game_service: Service) -> None:
    room = "room:weather"
    tokens = await house.tokens(*(f"deaf-{n}" for n in range(MUTE)), room=room)
    deaf = [await mute(house, token) for token in tokens]
    before = house.memory()

    for number in range(600):
        await game_service.publish_all(
            {"to": room, "name": "weather", "data": "y" * 32_000, "key": f"key-{number}"},
            {"to": room, "name": "chat", "data": "z" * 16_000},
        )
    after = house.memory()
    # They come back, read nothing, and are owed six hundred values each.
    for client in deaf:
        client.abort()
    deaf = [await mute(house, token) for token in tokens]
    last = await house.phone("last", room)
    for _ in range(600):
        await last.expect("latest")
    again = house.memory()

    for client in deaf:
        client.abort()
    assert max(after, again) - before < MOST


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[House]:
    server = Server(tmp_path, environment=ENVIRONMENT | {"MEANWHILE_STALL_TIMEOUT": str(STALL)})
    key = server.prepare()
    server.start()
    yield House(server, key)
    server.dispose()


async def test_one_that_takes_nothing_for_too_long_is_sent_away_although_it_speaks(impatient: House) -> None:
    """LIMIT: uvicorn; daphne takes whatever it is given."""
    service = await Service(impatient.server.base, impatient.key).connect()
    (token,) = await impatient.tokens("deaf", room="room:stalled")
    deaf = await mute(impatient, token)
    reader = await impatient.phone("reader", "room:stalled")

    async def speak() -> None:
        while True:
            deaf.say("ping", id=1)
            await asyncio.sleep(STALL / 4)  # an interval, not a wait for anything

    speaking = asyncio.create_task(speak())
    for _ in range(400):
        await service.publish("room:stalled", "chat", "x" * 60_000)
    state = ""
    async with asyncio.timeout(15):
        while state != "offline":
            answer = await service.http.get("/api/v1/devices/deaf")
            state = answer.json()["presence"]["state"]
    speaking.cancel()
    deaf.resume_reading()

    assert await deaf.ending() in {4008, None}  # its last words may have had no room
    assert await reader.quiet() is not None
    await reader.close()
    await service.close()


async def test_one_that_floods_is_sent_away_and_nobody_else_waits(house: House, game_service: Service) -> None:
    (token,) = await house.tokens("flooder", room="room:flooded")
    neighbour = await house.phone("neighbour", "room:flooded")
    flooder = await mute(house, token)
    flooder.writer.write(frame(b'{"type":"ping"}') * 20_000)

    said = time.monotonic()
    await game_service.publish("room:flooded")
    (came,) = await take(neighbour, "room:flooded", 1)
    flooder.resume_reading()
    code = await flooder.ending()

    # What the flooder still sends into the closed connection makes the system reset it, and a reset may overtake the
    # close frame: daphne, which reads no further, is where that was seen.
    assert code == 4029 or (house.server.kind == "daphne" and code is None)
    assert came - said < 2


#: What: the bytes, and whether the connection may go on after them.
BYTES = {
    "a frame without a mask": frame(b'{"type":"ping"}', masked=False),
    "an unknown opcode": frame(b"x", opcode=3),
    "reserved bits": b"\xf1" + frame(b"x")[1:],
    "a continuation of nothing": frame(b"x", opcode=0),
    "text that is not UTF-8": frame(b'{"type":"ping","x":"\xff\xfe"}'),
    "half a character": frame('{"type":"ping","x":"ü"}'.encode()[:-3]),
    "a length beyond all bounds": frame(b"x", says=2**62),
    "a length with its highest bit set": frame(b"x", says=2**63 + 1),
    "a frame far above the limit": frame(b"x" * 2_000_000),
    "a ping that is too long": frame(b"x" * 200, opcode=PING),
    "a ping in pieces": frame(b"x", opcode=PING, fin=False),
    "a close with a code that is none": frame(b"\x00\x07", opcode=8),
    "a close of one byte": frame(b"\x03", opcode=8),
    "text in the middle of text": frame(b"{", fin=False) + frame(b"}"),
    "pieces without end": frame(b"[", fin=False) + frame(b"[" * 1000, opcode=0, fin=False) * 3000,
    "HTTP": b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": bytes(4096),
    "noise": bytes(range(256)) * 40,
}


@pytest.mark.parametrize("name", BYTES)
async def test_bytes_that_are_no_frame_end_the_connection_and_nothing_else(house: House, name: str) -> None:
    client = await RawClient.open(house.server.port)

    client.writer.write(BYTES[name])
    code = await client.ending()

    client.abort()
    assert code not in {1011, 1006}
    assert code is None or 1000 <= code < 5000


async def test_thousands_of_pings_of_the_transport_cost_nothing(house: House) -> None:
    (token,) = await house.tokens("pinger", room="room:pings")
    client = await mute(house, token)
    before = house.memory()

    client.writer.write(frame(b"x" * 100, opcode=PING) * 50_000)
    client.writer.write(frame(b'{"type":"ping","id":7}'))
    client.resume_reading()
    pong = await client.until("pong")

    client.abort()
    assert pong["re"] == 7
    assert house.memory() - before < MOST


async def say_all(house: House, path: str, hello: dict[str, str], texts: list[str]) -> None:
    """Says all of it, again on a new connection where one was ended for it; then the server still answers."""
    waiting = [*texts]
    while waiting:
        client = await RawClient.open(house.server.port, path)
        client.say("hello", **hello)
        await client.until("welcome")
        while waiting:
            client.writer.write(frame(waiting.pop(0).encode(errors="surrogatepass")))
            client.say("ping", id=77)
            try:
                while (await client.until("pong")).get("re") != 77:
                    pass
            except (asyncio.IncompleteReadError, ConnectionError):
                break
        client.abort()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(device=st.lists(junk.texts(junk.DEVICE), max_size=12), service=st.lists(junk.texts(junk.SERVICE), max_size=12))
def test_frames_that_are_junk_never_break_a_connection_from_inside(
    house: House, device: list[str], service: list[str]
) -> None:
    async def both() -> None:
        (token,) = await house.tokens("fuzz", room="room:fuzz")
        await say_all(house, "/ws/service", {"key": house.key}, service)
        await say_all(house, "/ws/device", {"token": token}, device)

    asyncio.run(both())


BODIES = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"[" * 100_000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b'{"messages":[{"to":"room:x","name":"turn","data":NaN}]}',
    b'{"messages":[{"to":"room:x","name":"turn","data":1e999}]}',
    b'{"messages":[{"to":"room:x","name":"turn","data":"\\ud800"}]}',
    b'{"messages":[{"to":"room:x","name":"turn","data":"\\u0000"}]}',
    b'{"messages":[{"to":"room:x","name":"turn","data":"\xff"}]}',
    b'{"messages":[{"to":"room:x","to":"room:y","name":"turn","data":1}]}',
    b'{"device":"x","device":"y"}',
    b'{"stream":"room:x","upto":9007199254740992}',
    b'{"stream":"room:x","upto":' + b"9" * 5000 + b"}",
    b'{"state":"foreground","state_seq":-1}',
    b'{"device":{"a":[1]},"user":7,"streams":"room:x"}',
    b"\x00" * 1000,
)


@pytest.mark.parametrize("path", ["messages", "devices", "results", "notices"])
async def test_a_body_that_is_not_what_it_should_be_is_refused_with_a_problem(house: House, path: str) -> None:
    (token,) = await house.tokens("poster", room="room:bodies")
    by = token if path in {"results", "notices"} else house.key
    headers = {"Authorization": f"Bearer {by}", "Content-Type": "application/json"}

    async with httpx.AsyncClient(verify=PLAIN, base_url=house.server.base, headers=headers) as http:
        for body in BODIES:
            answer = await http.post(f"/api/v1/{path}", content=body)

            assert 400 <= answer.status_code < 500, (body[:80], answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["temporary"] is False
