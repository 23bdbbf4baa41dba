"""make bench: publish → durable → pushed → acked → result stored, beside two limits measured in the same run.

One server process on SQLite with synchronous=FULL; the load comes from this process over real sockets: one service
socket and 100 device sockets.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from typing import Any

import uvloop
from websockets.asyncio.client import ClientConnection, connect

from benchmarks import server

DATA = '{"x":1024,"y":768,"facing":"north","text":"turned left at the old mill"}'
DEVICES = 100


class Phone:
    """A device that acknowledges and reports what it gets, one report under way at a time."""

    def __init__(self, number: int) -> None:
        self.stream = f"device:d{number}"
        self.arrived = 0
        self.processed = 0
        self.got: dict[int, float] = {}
        self.saved: dict[int, float] = {}
        self._under_way = False

    async def run(self, port: int, token: str, ready: asyncio.Event, done: Any) -> None:
        async with connect(f"ws://127.0.0.1:{port}/ws/device", compression=None, max_queue=None) as self._socket:
            await self._socket.send(json.dumps({"type": "hello", "token": token, "state_seq": 1}))
            ready.set()
            async for text in self._socket:
                await self._take(json.loads(text))
                done(self)

    async def _take(self, frame: dict[str, Any]) -> None:
        now = time.perf_counter()
        if frame["type"] == "results_saved":
            self._under_way = False
            for offset in range(self.processed + 1, frame["processed"] + 1):
                self.saved[offset] = now
            self.processed = frame["processed"]
        elif frame["type"] in {"message", "messages"}:
            for item in frame.get("items", [frame]):
                assert item["offset"] == self.arrived + 1, (item["offset"], self.arrived)
                self.arrived = item["offset"]
                self.got[self.arrived] = now
            await self._socket.send(f'{{"type":"ack","stream":"{self.stream}","upto":{self.arrived}}}')
        if self.arrived > self.processed and not self._under_way:
            self._under_way = True
            await self._socket.send(f'{{"type":"results","stream":"{self.stream}","upto":{self.arrived}}}')


async def publisher(port: int, key: str) -> ClientConnection:
    socket = await connect(f"ws://127.0.0.1:{port}/ws/service", compression=None, max_queue=None)
    await socket.send(json.dumps({"type": "hello", "key": key}))
    await socket.recv()
    return socket


def draft(device: int) -> str:
    return f'{{"to":"device:d{device}","name":"turn","data":{DATA}}}'


async def flood(socket: ClientConnection, messages: int, frame: int, under_way: int) -> None:
    """Publishes in frames of `frame` messages with at most `under_way` unanswered."""
    free = asyncio.Semaphore(under_way)

    async def answers() -> None:
        for _ in range(messages // frame):
            answer = await socket.recv()
            assert '"published"' in answer[:40], answer[:200]
            free.release()

    hearing = asyncio.create_task(answers())
    for number in range(messages // frame):
        await free.acquire()
        drafts = ",".join(draft((number * frame + place) % DEVICES) for place in range(frame))
        await socket.send(f'{{"type":"publish","id":{number},"messages":[{drafts}]}}')
    await hearing


async def paced(socket: ClientConnection, messages: int, rate: int, sent: dict[tuple[int, int], float]) -> None:
    """Publishes one message a frame at a steady rate and remembers when each was handed over."""
    start = time.perf_counter()

    async def answers() -> None:
        for _ in range(messages):
            answer = json.loads(await socket.recv())
            place = answer["items"][0]
            sent[answer["re"] % DEVICES, place["offset"]] = started[answer["re"]]

    started: dict[int, float] = {}
    hearing = asyncio.create_task(answers())
    for number in range(messages):
        due = start + number / rate
        while (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        started[number] = time.perf_counter()
        await socket.send(f'{{"type":"publish","id":{number},"messages":[{draft(number % DEVICES)}]}}')
    await hearing


async def run(
    place: dict[str, Any], messages: int, frame: int, under_way: int
) -> tuple[float, list[float], list[float]]:
    """→ messages/s of the whole chain, and at 1,000/s the latencies (s) until arrival and until the result is stored."""
    phones = [Phone(number) for number in range(DEVICES)]
    reached = asyncio.Event()
    target = 0

    def done(phone: Phone) -> None:
        if target and phone.processed >= target and all(one.processed >= target for one in phones):
            reached.set()

    ready = [asyncio.Event() for _ in phones]
    tasks = [
        asyncio.create_task(phone.run(place["port"], token, event, done))
        for phone, token, event in zip(phones, place["tokens"], ready, strict=True)
    ]
    await asyncio.gather(*(event.wait() for event in ready))
    socket = await publisher(place["port"], place["key"])
    await flood(socket, 10 * DEVICES, 10, 10)

    rates = []
    target = 10
    for _ in range(3):
        reached.clear()
        target += messages // DEVICES
        begin = time.perf_counter()
        await flood(socket, messages, frame, under_way)
        await asyncio.wait_for(reached.wait(), 120)
        rates.append(messages / (time.perf_counter() - begin))

    sent: dict[tuple[int, int], float] = {}
    reached.clear()
    quiet = 5000
    target += quiet // DEVICES
    await paced(socket, quiet, 1000, sent)
    await asyncio.wait_for(reached.wait(), 60)
    arrival = sorted(phones[d].got[offset] - at for (d, offset), at in sent.items())
    stored = sorted(phones[d].saved[offset] - at for (d, offset), at in sent.items())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await socket.close()
    return statistics.median(rates), arrival, stored


def inserts(batch: int, seconds: float = 1.5) -> float:
    """The bare limit of the disk: rows/s into the message table's shape, `batch` a transaction, synchronous=FULL."""
    with tempfile.TemporaryDirectory(prefix="meanwhile-bench-") as folder:
        server.manage(folder, "migrate", "-v0")
        file = sqlite3.connect(f"{folder}/meanwhile.sqlite3", isolation_level=None)
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA synchronous=FULL")
        file.execute("PRAGMA foreign_keys=OFF")
        sql = (
            'INSERT INTO messaging_message (stream_id, "offset", type_id, service_id, published_at, expires_at, payload)'
            " VALUES (?, ?, 1, 1, '2026-01-01 00:00:00.000000', '2026-01-08 00:00:00.000000', ?)"
        )
        count = 0
        end = time.perf_counter() + seconds
        begin = time.perf_counter()
        while time.perf_counter() < end:
            file.execute("BEGIN IMMEDIATE")
            file.executemany(sql, [((count + n) % DEVICES, (count + n) // DEVICES + 1, DATA) for n in range(batch)])
            file.execute("COMMIT")
            count += batch
        rate = count / (time.perf_counter() - begin)
        file.close()
        return rate


async def echoes(port: int, seconds: float = 2.0) -> float:
    """The bare limit of the server: frames/s echoed over 100 sockets, 16 under way on each."""
    count = 0
    text = "x" * len(DATA)

    async def one() -> None:
        nonlocal count
        async with connect(f"ws://127.0.0.1:{port}/", compression=None) as socket:
            for _ in range(16):
                await socket.send(text)
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                await socket.recv()
                await socket.send(text)
                count += 1

    begin = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(DEVICES)))
    return count / (time.perf_counter() - begin)


def at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=60_000)
    parser.add_argument("--frame", type=int, default=100, help="messages of one publish frame")
    parser.add_argument("--under-way", type=int, default=40, help="publish frames that may be unanswered")
    chosen = parser.parse_args()

    insert_many, insert_one = inserts(500), inserts(1)
    with (
        tempfile.TemporaryDirectory() as folder,
        server.process([sys.executable, "-m", "benchmarks.echo"], folder) as (
            port,
            _,
        ),
    ):
        echo = uvloop.run(echoes(port))
    with server.meanwhile(devices=DEVICES, MEANWHILE_FRAME_RATE="10000", MEANWHILE_FRAME_BURST="10000") as place:
        rate, arrival, stored = uvloop.run(run(place, chosen.messages, chosen.frame, chosen.under_way))

    print(f"publish → durable → pushed → acked → result stored   {rate:9,.0f} messages/s   (median of 3 runs)")
    print(
        f"  of the bare insert loop, 500 a transaction         {insert_many:9,.0f} rows/s       {rate / insert_many:6.2f} ×"
    )
    print(
        f"  of the bare insert loop, 1 a transaction           {insert_one:9,.0f} rows/s       {rate / insert_one:6.2f} ×"
    )
    print(f"  of the bare ASGI echo on the same server           {echo:9,.0f} frames/s     {rate / echo:6.2f} ×")
    print(f"at 1,000/s until the device has it      p50 {at(arrival, 0.5):6.2f} ms   p99 {at(arrival, 0.99):6.2f} ms")
    print(f"at 1,000/s until the result is stored   p50 {at(stored, 0.5):6.2f} ms   p99 {at(stored, 0.99):6.2f} ms")
    print(
        f"one process, SQLite synchronous=FULL, {DEVICES} devices, {len(DATA)} bytes of data, frames of {chosen.frame}"
    )


if __name__ == "__main__":
    main()
