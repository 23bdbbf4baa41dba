"""How many pulls a second one process answers. `python -m benchmarks.pull`

Each connection asks again and again for a page of 50 (and of 1,000) messages that its device has not processed, through
uvicorn, authentication and the database. The client reads bytes and decodes nothing: it shares the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

import httpx

from benchmarks.server import meanwhile

DATA = {"text": "x" * 40, "n": 1}


async def ask(port: int, request: bytes, until: float, spent: list[float]) -> None:
    """One keep-alive connection, one request after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < until:
        begin = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]
        await reader.readexactly(int(length))
        spent.append(time.perf_counter() - begin)
    writer.close()


async def measure(port: int, tokens: list[str], path: str, seconds: float) -> str:
    until = time.perf_counter() + seconds
    spent: list[float] = []
    requests = [
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode() for token in tokens
    ]
    await asyncio.gather(*(ask(port, request, until, spent) for request in requests))
    spent.sort()
    p99 = spent[int(len(spent) * 0.99)] * 1000
    return f"{len(spent) / seconds:7.0f}/s   p50 {statistics.median(spent) * 1000:6.1f} ms   p99 {p99:6.1f} ms"


def publish(port: int, key: str, devices: int, count: int) -> None:
    drafts = [{"to": f"device:d{n}", "name": "turn", "data": DATA} for n in range(devices) for _ in range(count)]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}) as http:
        for start in range(0, len(drafts), 1000):
            http.post("/api/v1/messages", json={"messages": drafts[start : start + 1000]}).raise_for_status()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5)
    chosen = parser.parse_args()
    with meanwhile(devices=chosen.connections) as server:
        publish(server["port"], server["key"], chosen.connections, 1000)
        for limit in (50, 1000):
            path = f"/api/v1/pending?limit={limit}"
            print(f"{limit:5} messages: {asyncio.run(measure(server['port'], server['tokens'], path, chosen.seconds))}")


if __name__ == "__main__":
    main()
