"""make bench-storm: after a restart everybody comes back at once; and the plain return of a hundred with a thousand each."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import time
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import server
from benchmarks.lean import LeanSocket
from benchmarks.throughput import DATA, publisher


def memory(pid: int) -> float:
    """Resident MiB of a process."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


async def fill(place: dict[str, Any], devices: int, missed: int) -> None:
    """Everybody misses so many messages in a stream of his own."""
    socket = await publisher(place["port"], place["key"])
    sent = 0
    for start in range(0, devices * missed, 1000):
        drafts = ",".join(
            f'{{"to":"device:d{number % devices}","name":"turn","data":{DATA}}}'
            for number in range(start, min(start + 1000, devices * missed))
        )
        await socket.send(f'{{"type":"publish","id":{start},"messages":[{drafts}]}}')
        sent += 1
        if sent > 4:
            assert '"published"' in (await socket.recv())[:40]
            sent -= 1
    for _ in range(sent):
        assert '"published"' in (await socket.recv())[:40]
    await socket.close()


class Crowd:
    def __init__(self, place: dict[str, Any], devices: int, missed: int, mode: str) -> None:
        self._place = place
        self._devices = devices
        self._missed = missed
        self._mode = mode
        self._behind = devices
        self._all = asyncio.Event()
        self.sockets: list[LeanSocket] = []
        self.refused = 0
        self.peak = 0.0

    def _heard(self, socket: LeanSocket) -> None:
        if self._mode == "pull" and socket.welcomed and not getattr(socket, "pulled", False):
            socket.pulled = True  # type: ignore[attr-defined]
            self._tasks.append(asyncio.create_task(self._pull(socket)))
        if socket.messages == self._missed and not getattr(socket, "done", False):
            socket.done = True  # type: ignore[attr-defined]
            self._finish()

    def _finish(self) -> None:
        self._behind -= 1
        if not self._behind:
            self._all.set()

    async def _pull(self, socket: LeanSocket) -> None:
        """The HTTP pull by hand, page by page; a 503 waits as it is told."""
        number = self.sockets.index(socket) if socket in self.sockets else 0
        token = socket.token  # type: ignore[attr-defined]
        cursor = ""
        got = 0
        reader, writer = await asyncio.open_connection("127.0.0.1", self._place["port"])
        while True:
            path = f"/api/v1/pending?cursor={cursor}" if cursor else "/api/v1/pending"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = int(re.search(r"content-length: (\d+)", head)[1])  # type: ignore[index]
            body = await reader.readexactly(size)
            if " 503 " in head.splitlines()[0]:
                self.refused += 1
                await asyncio.sleep(float(re.search(r"retry-after: (\d+)", head)[1]))  # type: ignore[index]
                continue
            assert " 200 " in head.splitlines()[0], body[:200]
            got += body.count(b'"offset":')
            found = re.search(rb'"next":"([^"]+)"', body)
            if not found:
                break
            cursor = found[1].decode()
        writer.close()
        assert got == self._missed, (number, got)
        socket.messages = got
        self._finish()

    async def come_back(self) -> float:
        """Seconds until everybody has everything."""
        self._tasks: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        watching = asyncio.create_task(self._watch())
        begin = time.perf_counter()

        async def one(number: int) -> None:
            token = self._place["tokens"][number]
            hello = json.dumps({"type": "hello", "token": token, "state_seq": 2, "resume": self._mode}).encode()
            socket = LeanSocket("/ws/device", hello, f"device:d{number}".encode(), self._heard)
            socket.token = token  # type: ignore[attr-defined]
            self.sockets.append(socket)
            await loop.create_connection(lambda: socket, "127.0.0.1", self._place["port"])

        await asyncio.gather(*(one(number) for number in range(self._devices)))
        await asyncio.wait_for(self._all.wait(), 120)
        seconds = time.perf_counter() - begin
        watching.cancel()
        assert not any(socket.over or socket.disordered for socket in self.sockets)
        for socket in self.sockets:
            socket.transport.abort()
        return seconds

    async def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, memory(self._place["pid"]))
            await asyncio.sleep(0.02)


def measure(devices: int, missed: int, mode: str, runs: int) -> None:
    with server.prepared(devices=devices) as place:
        with server.running(place, MEANWHILE_JOURNAL_QUEUE="200000"):
            uvloop.run(fill(place, devices, missed))
        seconds, peaks, refused, before = [], [], 0, 0.0
        for _ in range(runs):
            with server.running(place):
                before = memory(place["pid"])
                crowd = Crowd(place, devices, missed, mode)
                seconds.append(uvloop.run(crowd.come_back()))
                peaks.append(crowd.peak)
                refused += crowd.refused
    print(
        f"{devices:5} devices × {missed:5} missed, {mode:6}: all current after {statistics.median(seconds):6.2f} s"
        f"   server {before:4.0f} → {max(peaks):4.0f} MiB   pulls told to wait: {refused}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--missed", type=int, default=50)
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    measure(chosen.devices, chosen.missed, "replay", chosen.runs)
    measure(chosen.devices, chosen.missed, "pull", chosen.runs)
    measure(100, 1000, "replay", chosen.runs)
    measure(100, 1000, "pull", chosen.runs)
    print("one process, SQLite synchronous=FULL; each run after a restart of the server")


if __name__ == "__main__":
    main()
