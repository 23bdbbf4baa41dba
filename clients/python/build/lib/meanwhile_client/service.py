"""A back end: publishes over the service socket or over REST, hears of results, registers devices."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from meanwhile_client.connection import Backoff, Connection, Frame
from meanwhile_client.errors import ConnectionLost, MeanwhileError

Item = Any  # {"stream", "offset"} or {"stream", "version"} or {"stream"} or {"problem"}, or a list of these
#: Publishes without an answer; beyond, `publish` waits.
UNDER_WAY = 1000


class Service:
    """`async with Service("http://localhost:8000", key) as service: …`"""

    def __init__(self, url: str, key: str, *, under_way: int = UNDER_WAY) -> None:
        self._socket_url = url.rstrip("/").replace("http", "ws", 1) + "/ws/service"
        self._key = key
        self._free = asyncio.Semaphore(under_way)
        self._opening = asyncio.Lock()
        self._connection: Connection | None = None
        self._reading: asyncio.Task[None] | None = None
        self.http = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/api/v1/", headers={"Authorization": f"Bearer {key}"}, timeout=30
        )

    async def __aenter__(self) -> Service:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._connection:
            await self._connection.close()
        if self._reading:
            await asyncio.gather(self._reading, return_exceptions=True)
        await self.http.aclose()

    # --- publishing --------------------------------------------------------------------------------------------------

    async def publish(self, to: str | list[str], name: str, data: Any, **more: Any) -> Item:
        """Where the message is stored, when it is on disk. more: key, id, ttl. Raises MeanwhileError.

        After ConnectionLost it may be stored or not: with an `id`, publishing again is safe.
        """
        (item,) = await self.publish_all([{"to": to, "name": name, "data": data, **more}])
        if isinstance(item, dict) and "problem" in item:
            raise MeanwhileError(item["problem"])
        return item

    async def publish_all(self, messages: Sequence[Frame]) -> list[Item]:
        """The items of up to 1,000 messages, in their order; a refused one stands as {"problem"}.

        Over the socket, pipelined: calls do not wait for each other's answers (`asyncio.gather`, tasks).
        """
        async with self._free:
            connection = await self._connected()
            answer = await (await connection.request("publish", messages=list(messages)))
            items: list[Item] = answer["items"]
            return items

    async def post(self, messages: Sequence[Frame], *, idempotency_key: str = "") -> list[Item]:
        """As `publish_all`, over REST; with an Idempotency-Key the same call may be repeated for a day."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        items: list[Item] = (await self._call("POST", "messages", {"messages": list(messages)}, headers))["items"]
        return items

    async def _connected(self) -> Connection:
        async with self._opening:
            if self._connection is None:
                self._connection, _ = await Connection.open(self._socket_url, {"key": self._key})
                self._reading = asyncio.create_task(self._read(self._connection))
            return self._connection

    async def _read(self, connection: Connection) -> None:
        try:
            while True:
                await connection.next()
        except MeanwhileError:
            if self._connection is connection:
                self._connection = None

    # --- hearing -----------------------------------------------------------------------------------------------------

    async def listen(self, *what: str, after: int | None = None) -> AsyncIterator[Frame]:
        """`result` and `presence` frames as they come, from "results", "presence". after: the last known position.

        Comes back by itself where it stopped: each position once, none left out (`results_gap` names what is not kept).
        Raises MeanwhileError when the server refuses for good.
        """
        backoff = Backoff()
        while True:
            try:
                place = {} if after is None else {"after": after}
                connection, welcome = await Connection.open(
                    self._socket_url, {"key": self._key, "listen": list(what), **place}
                )
            except ConnectionLost as lost:
                await backoff.wait(lost)
                continue
            after = welcome.get("position", after)
            try:
                while True:
                    frame = await connection.next()
                    if "results" in what and frame["type"] in {"result", "results_gap"}:
                        first, last = _positions(frame)
                        if first != (after or 0) + 1:
                            raise ConnectionLost({"detail": "A hole: the feed is read again."})
                        after = last
                    yield frame
            except ConnectionLost as lost:
                await backoff.wait(lost)
            finally:
                await connection.close()

    async def feed(self, after: int = 0) -> AsyncIterator[Frame]:
        """The results behind a position, page by page, to the end of the feed."""
        while True:
            page = await self._call("GET", f"results?after={after}")
            for item in page["items"]:
                yield item
            if page["next"] == after:
                return
            after = page["next"]

    async def message(self, stream: str, offset: int) -> Frame:
        """Where a message is for each device it was meant for."""
        return await self._call("GET", f"messages/{quote(stream)}/{offset}")

    # --- devices -----------------------------------------------------------------------------------------------------

    async def register(self, device: str, **more: Any) -> Frame:
        """{"device", "token", "expires_at", "streams"}: for the app. more: user, streams, rooms, platform."""
        return await self._call("POST", "devices", {"device": device, **more})

    async def revoke(self, device: str) -> None:
        await self._call("POST", f"devices/{quote(device)}/revoke")

    async def devices(self, **filters: str) -> AsyncIterator[Frame]:
        """All devices with presence and backlog. filters: user, state."""
        cursor: dict[str, str] = {}
        for _ in itertools.count():
            page = await self._call("GET", f"devices?{httpx.QueryParams({**filters, **cursor})}")
            for item in page["items"]:
                yield item
            if not page["next"]:
                return
            cursor = {"cursor": page["next"]}

    async def _call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Frame:
        try:
            answer = await self.http.request(method, path, json=body, headers=headers)
        except httpx.TransportError as error:
            raise ConnectionLost({"detail": str(error)}) from error
        if answer.is_error:
            problem = "problem+json" in answer.headers.get("content-type", "")
            raise MeanwhileError(answer.json() if problem else {"code": "internal", "detail": str(answer.status_code)})
        told: Frame = answer.json() if answer.content else {}
        return told


def _positions(frame: Frame) -> tuple[int, int]:
    if frame["type"] == "results_gap":
        return frame["from"], frame["to"]
    return frame["position"], frame["position"]
