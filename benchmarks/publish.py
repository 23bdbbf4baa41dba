"""make bench-publish: how many messages a second one process takes from one service, durable when answered.

Over the service socket in frames of 1 and of 100, pipelined, and over REST in batches of 100, beside the bare insert loop
measured in the same run. Nobody is connected to hear: this is the way in. The load comes from this process, which decodes
nothing and shares the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from benchmarks import server
from benchmarks.lean import LeanSocket, frame
from benchmarks.throughput import DEVICES, draft, inserts

RUNS = 3
#: REST connections that ask one after the other.
CONNECTIONS = 8


class Publisher:
    """A service socket that counts its answers: a frame each."""

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._wanted = 0

    async def connect(self, port: int, key: str) -> Publisher:
        hello = f'{{"type":"hello","key":"{key}"}}'.encode()
        loop = asyncio.get_running_loop()
        self.socket = LeanSocket("/ws/service", hello, b"", self._heard)
        await loop.create_connection(lambda: self.socket, "127.0.0.1", port)
        while not self.socket.welcomed:
            await asyncio.sleep(0.01)
        return self

    def _heard(self, socket: LeanSocket) -> None:
        if len(socket.other) >= self._wanted:
            self._free.set()

    async def _answered(self, count: int) -> None:
        self._wanted = count
        self._free.clear()
        if len(self.socket.other) < count:
            await self._free.wait()

    async def publish(self, messages: int, size: int, under_way: int) -> None:
        """Frames of `size` messages, with at most `under_way` unanswered; they go out in bursts of a tenth of that."""
        texts = [
            frame(b'{"type":"publish","id":%d,"messages":[%b]}' % (place, drafts(place, size)))
            for place in range(messages // size)
        ]
        burst = max(under_way // 10, 1)
        self.socket.other.clear()
        for start in range(0, len(texts), burst):
            self.socket.transport.write(b"".join(texts[start : start + burst]))
            await self._answered(start + burst - under_way)
        await self._answered(len(texts))
        refused = [text for text in self.socket.other if not text.startswith(b'{"type":"published"')]
        assert not refused, refused[0]


def drafts(place: int, size: int) -> bytes:
    return ",".join(draft((place * size + n) % DEVICES) for n in range(size)).encode()


async def post(port: int, key: str, bodies: list[bytes]) -> None:
    """One keep-alive connection, one request after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for body in bodies:
        writer.write(
            b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]))
    writer.close()


async def rest(port: int, key: str, messages: int, size: int) -> None:
    bodies = [b'{"messages":[%b]}' % drafts(place, size) for place in range(messages // size)]
    await asyncio.gather(*(post(port, key, bodies[n::CONNECTIONS]) for n in range(CONNECTIONS)))


async def rate(messages: int, work: Callable[[], Awaitable[None]]) -> float:
    """The median of some runs (messages/s)."""
    found = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        await work()
        found.append(messages / (time.perf_counter() - begin))
    return statistics.median(found)


async def measure(place: dict[str, Any], messages: int) -> dict[str, float]:
    port, key = place["port"], place["key"]
    publisher = await Publisher().connect(port, key)
    await publisher.publish(1000, 1, 100)
    found = {
        "service socket, frames of 1": await rate(messages, lambda: publisher.publish(messages, 1, 2000)),
        "service socket, frames of 100": await rate(3 * messages, lambda: publisher.publish(3 * messages, 100, 60)),
        "REST, batches of 100": await rate(messages, lambda: rest(port, key, messages, 100)),
    }
    publisher.socket.transport.abort()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=30_000)
    chosen = parser.parse_args()
    insert_many, insert_one = inserts(500), inserts(1)
    with server.meanwhile(devices=DEVICES) as place:
        found = uvloop.run(measure(place, chosen.messages))
    for name, result in found.items():
        share = f"{result / insert_many:6.2f} × / {result / insert_one:6.2f} × the insert loop"
        print(f"{name:32}{result:9,.0f} messages/s   {share}")
    print(f"bare insert loop: {insert_many:,.0f} rows/s with 500 a transaction, {insert_one:,.0f} rows/s with 1")
    print(f"one process, SQLite synchronous=FULL, {DEVICES} devices, median of {RUNS} runs")


if __name__ == "__main__":
    main()
