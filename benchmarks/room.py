"""make bench-room: one room, many sockets, one process, beside Channels' plain group_send measured in the same run."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from typing import Any

import uvloop

from benchmarks import server
from benchmarks.lean import LeanSocket
from benchmarks.throughput import publisher

ROOM = "room:arena"


class Audience:
    """Sockets in one room, and an event for when all of them have heard so many messages."""

    def __init__(self) -> None:
        self.sockets: list[LeanSocket] = []
        self._target = 0
        self._behind = 0
        self.all = asyncio.Event()

    def heard(self, socket: LeanSocket) -> None:
        if self._target and socket.messages >= self._target and not getattr(socket, "counted", False):
            socket.counted = True  # type: ignore[attr-defined]
            self._behind -= 1
            if not self._behind:
                self.all.set()

    async def gather(self, port: int, path: str, hellos: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        for hello in hellos:
            socket = LeanSocket(path, hello, ROOM.encode(), self.heard)
            await loop.create_connection(lambda socket=socket: socket, "127.0.0.1", port)
            self.sockets.append(socket)
        while not all(socket.welcomed for socket in self.sockets):
            await asyncio.sleep(0.05)

    def expect(self, messages: int) -> None:
        self._target = self.sockets[0].messages + messages
        self._behind = len(self.sockets)
        for socket in self.sockets:
            socket.counted = False  # type: ignore[attr-defined]
        self.all.clear()

    async def wait(self, seconds: float) -> float:
        """How many of the deliveries arrived, as a share; returns early when all have."""
        try:
            await asyncio.wait_for(self.all.wait(), seconds)
        except TimeoutError:
            pass
        return sum(min(s.messages, self._target) for s in self.sockets) / (self._target * len(self.sockets))


async def one_by_one(socket: Any, count: int) -> None:
    """Each publish waits for the answer to the one before: nothing is put together into one frame."""
    for number in range(count):
        draft = f'{{"to":"{ROOM}","name":"turn","data":{{"what":"rose","from":"ann","n":12345}}}}'
        await socket.send(f'{{"type":"publish","id":{number},"messages":[{draft}]}}')
        assert '"published"' in (await socket.recv())[:40]


async def publish(socket: Any, count: int, frame: int) -> None:
    draft = f'{{"to":"{ROOM}","name":"turn","data":{{"what":"rose","from":"ann","n":12345}}}}'
    for number in range(count // frame):
        await socket.send(f'{{"type":"publish","id":{number},"messages":[{",".join([draft] * frame)}]}}')
    for _ in range(count // frame):
        answer = await socket.recv()
        assert '"published"' in answer[:40], answer[:200]


async def ours(place: dict[str, Any], messages: int) -> tuple[float, float, float, int]:
    """→ deliveries/s (median), the same one frame a message, share of a burst of 200 that arrived, frames out of order."""
    audience = Audience()
    hellos = [json.dumps({"type": "hello", "token": t, "state_seq": 1}).encode() for t in place["tokens"]]
    await audience.gather(place["port"], "/ws/device", hellos)
    service = await publisher(place["port"], place["key"])
    rates = []
    for _ in range(3):
        audience.expect(messages)
        begin = time.perf_counter()
        await publish(service, messages, 1)
        await audience.wait(60)
        rates.append(messages * len(audience.sockets) / (time.perf_counter() - begin))
    audience.expect(200)
    await publish(service, 200, 1)
    share = await audience.wait(30)
    audience.expect(messages)
    begin = time.perf_counter()
    await one_by_one(service, messages)
    await audience.wait(60)
    single = messages * len(audience.sockets) / (time.perf_counter() - begin)
    disordered = sum(socket.disordered for socket in audience.sockets)
    for socket in audience.sockets:
        socket.transport.abort()
    await service.close()
    return statistics.median(rates), single, share, disordered


async def plain(port: int, sockets: int, messages: int) -> tuple[float, float]:
    """The same room as Channels' documentation builds it: group_send to a consumer with a channel of its own."""
    audience = Audience()
    await audience.gather(port, "/", [b"hello"] * sockets)
    sender = LeanSocket("/", b"send 1", b"", lambda socket: None)
    await asyncio.get_running_loop().create_connection(lambda: sender, "127.0.0.1", port)
    audience.expect(messages)
    begin = time.perf_counter()
    from benchmarks.lean import frame

    for _ in range(messages):
        sender.transport.write(frame(b"send 1"))
        await asyncio.sleep(0.01)
    await audience.wait(30)
    got = sum(socket.messages for socket in audience.sockets)
    rate = got / (time.perf_counter() - begin)
    audience.expect(200)
    before = sum(socket.messages for socket in audience.sockets)
    sender.transport.write(frame(b"send 200"))
    await audience.wait(8)
    share = (sum(socket.messages for socket in audience.sockets) - before) / (200 * sockets)
    for socket in [*audience.sockets, sender]:
        socket.transport.abort()
    return rate, share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=300)
    parser.add_argument("--without-plain", action="store_true")
    chosen = parser.parse_args()
    with server.meanwhile(devices=chosen.sockets, streams=(ROOM,), MEANWHILE_FRAME_RATE="10000") as place:
        rate, single, share, disordered = uvloop.run(ours(place, chosen.messages))
    print(f"one room, {chosen.sockets} sockets, one process, SQLite synchronous=FULL")
    print(
        f"Meanwhile            {rate:9,.0f} deliveries/s   burst of 200: {share:7.2%} arrived, {disordered} out of order"
    )
    print(f"  one frame a message {single:8,.0f} deliveries/s   (each publish waits for the answer to the last)")
    if chosen.without_plain:
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        server.process([sys.executable, "-m", "benchmarks.plain_room"], folder) as (
            port,
            _,
        ),
    ):
        plain_rate, plain_share = uvloop.run(plain(port, min(chosen.sockets, 1000), 50))
    print(f"Channels group_send  {plain_rate:9,.0f} deliveries/s   burst of 200: {plain_share:7.2%} arrived")
    print(f"                     {rate / plain_rate:9.1f} ×")


if __name__ == "__main__":
    main()
