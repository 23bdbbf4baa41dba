"""Actors over real sockets: a phone and a service. They wait for frames, never for time."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.servers import PLAIN

Frame = dict[str, Any]
#: For what comes at once; only a busy machine takes so long. Far below the repair round where a wake-up must do.
DEADLINE = 15.0


class Socket:
    """One connection; frames are read one by one, in order."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._next = 1000
        #: Returns when what other processes have said until now has been heard.
        self.settle: Callable[[], Awaitable[None]] | None = None

    @classmethod
    async def open(cls, base: str, path: str, **options: Any) -> Socket:
        url = base.replace("http", "ws", 1) + path
        options.setdefault("subprotocols", ["meanwhile.v1.json"])
        return cls(await connect(url, compression=None, close_timeout=1, **options))

    async def send(self, type: str, **members: Any) -> None:
        await self.send_text(json.dumps({"type": type, **members}))

    async def send_text(self, text: str | bytes) -> None:
        await self._connection.send(text)

    async def receive(self) -> Frame:
        frame: Frame = json.loads(await asyncio.wait_for(self._connection.recv(), DEADLINE))
        return frame

    async def expect(self, type: str) -> Frame:
        """The next frame, which must be of this type."""
        frame = await self.receive()
        assert frame["type"] == type, frame
        return frame

    async def is_dead(self, seconds: float = 0.2) -> bool:
        """Whether nothing is heard for so long: how a client finds its connection dead."""
        try:
            await asyncio.wait_for(self._connection.recv(), seconds)
        except TimeoutError:
            return True
        return False

    async def until(self, type: str) -> list[Frame]:
        """All frames up to the first of this type, which is the last of them."""
        frames = [await self.receive()]
        while frames[-1]["type"] != type:
            frames.append(await self.receive())
        return frames

    async def caught_up(self, streams: int = 3) -> list[Frame]:
        """All frames until so many streams are caught up."""
        frames: list[Frame] = []
        while sum(frame["type"] == "caught_up" for frame in frames) < streams:
            frames.append(await self.receive())
        return frames

    async def quiet(self) -> list[Frame]:
        """What had been sent before the answer to a ping: [] proves that nothing was."""
        if self.settle:
            await self.settle()
        self._next += 1
        await self.send("ping", id=self._next)
        return (await self.until("pong"))[:-1]

    async def messages(self, count: int) -> list[Frame]:
        """So many `every` messages, when they have come; and those beyond, which there should not be."""
        frames: list[Frame] = []
        while len(messages(frames)) < count:
            frames.append(await self.receive())
        return messages(frames + await self.quiet())

    async def ask(self, type: str, **members: Any) -> Frame:
        """Sends a request and gets its reply; there must be nothing before it."""
        self._next += 1
        await self.send(type, id=self._next, **members)
        frame = await self.receive()
        assert frame.get("re") == self._next, frame
        return frame

    async def closed(self) -> int:
        """The close code, when the server has closed."""
        try:
            while True:
                await asyncio.wait_for(self._connection.recv(), DEADLINE)
        except ConnectionClosed as error:
            assert error.rcvd, error
            return error.rcvd.code

    async def close(self) -> None:
        await self._connection.close()


def messages(frames: list[Frame]) -> list[Frame]:
    """The `every` messages of frames, singly."""
    found: list[Frame] = []
    for frame in frames:
        if frame["type"] == "message":
            found.append(frame)
        elif frame["type"] == "messages":
            found.extend(frame["items"])
    return found


class Service:
    """A back end with an API key: publishes over its socket, so that an answer means durable."""

    def __init__(self, base: str, key: str) -> None:
        self.base = base
        self.key = key
        self.http = httpx.AsyncClient(
            verify=PLAIN, base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=DEADLINE
        )

    async def connect(self) -> Service:
        self.socket = await Socket.open(self.base, "/ws/service")
        await self.socket.send("hello", key=self.key)
        await self.socket.expect("welcome")
        return self

    async def publish(self, to: str | list[str], name: str = "turn", data: Any = 1, **more: Any) -> Any:
        """The item of one message."""
        return (await self.publish_all({"to": to, "name": name, "data": data, **more}))[0]

    async def publish_all(self, *drafts: Frame) -> list[Any]:
        answer = await self.socket.ask("publish", messages=list(drafts))
        assert answer["type"] == "published", answer
        items: list[Any] = answer["items"]
        return items

    async def close(self) -> None:
        await self.socket.close()
        await self.http.aclose()


class Phone:
    """A device with its token; each `connect` is a new connection."""

    def __init__(
        self, bases: list[str], name: str, token: str, user: str, settle: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.name, self.token, self.user = name, token, user
        self.stream = f"device:{name}"
        self.room = f"room:of-{name}"
        self.seq = 0
        self.sockets: list[Socket] = []
        #: Where it pulls; it connects to the first process, then to the next, and so on.
        self.http = self.http_of(bases[-1])
        self.http_at_first = self.http_of(bases[0])
        self._bases = itertools.cycle(bases)
        self._settle = settle

    def http_of(self, base: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=PLAIN, base_url=base, headers={"Authorization": f"Bearer {self.token}"}, timeout=DEADLINE
        )

    async def dial(self, **options: Any) -> Socket:
        """A connection that has not said anything."""
        socket = await Socket.open(next(self._bases), "/ws/device", **options)
        socket.settle = self._settle
        self.sockets.append(socket)
        return socket

    async def connect(self, **members: Any) -> tuple[Socket, Frame]:
        """A connection and its welcome."""
        socket = await self.dial()
        self.seq += 1
        hello = {"token": self.token, "state_seq": self.seq, "resume": "pull", **members}
        await socket.send("hello", **hello)
        return socket, await socket.expect("welcome")

    async def notice(self, socket: Socket, state: str) -> Frame:
        self.seq += 1
        answer = await socket.ask("notice", state=state, state_seq=self.seq)
        assert answer["type"] == "notice_saved", answer
        return answer

    async def pending(self, **query: Any) -> Frame:
        answer = await self.http.get("/api/v1/pending", params=query)
        assert answer.status_code == 200, answer.text
        page: Frame = answer.json()
        return page

    async def close(self) -> None:
        for socket in self.sockets:
            await socket.close()
        await self.http.aclose()
        await self.http_at_first.aclose()


class Witness:
    """Says when every process has heard what the others had said before: their wake-ups come in order."""

    def __init__(self, bases: list[str], key: str) -> None:
        self._bases = bases
        self._key = key
        self._services: list[Service] = []
        self._phones: list[tuple[Phone, Socket]] = []
        self._said = 0

    async def settle(self) -> None:
        if len(self._bases) == 1:
            return
        if not self._phones:
            await self._come()
        for at, service in enumerate(self._services):
            for there, (phone, socket) in enumerate(self._phones):
                if at != there:
                    self._said += 1
                    await service.publish(phone.stream, "chat", self._said)
                    while (await socket.expect("transient"))["data"] != self._said:
                        pass

    async def _come(self) -> None:
        for number, base in enumerate(self._bases):
            service = await Service(base, self._key).connect()
            self._services.append(service)
            name = f"witness-{number}"
            answer = await service.http.post("/api/v1/devices", json={"device": name})
            phone = Phone([base], name, answer.json()["token"], "")
            socket, _ = await phone.connect()
            self._phones.append((phone, socket))
        for service in self._services:
            for phone, socket in self._phones:
                await self._until_heard(service, phone, socket)

    async def _until_heard(self, service: Service, phone: Phone, socket: Socket) -> None:
        """A process hears of a stream a moment after its first session has been welcomed."""
        while True:
            self._said += 1
            await service.publish(phone.stream, "chat", self._said)
            try:
                async with asyncio.timeout(0.2):
                    await socket.expect("transient")
                return
            except TimeoutError:
                continue

    async def close(self) -> None:
        for phone, _ in self._phones:
            await phone.close()
        for service in self._services:
            await service.close()
        self._phones, self._services = [], []


def entry(frame: Frame, stream: str) -> Frame:
    """The stream entry of a welcome or notice_saved."""
    found: Frame = next(one for one in frame["streams"] if one["stream"] == stream)
    return found
