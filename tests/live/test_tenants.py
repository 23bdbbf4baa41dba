"""P9 on both sockets: every frame the server takes × whoever has no business there. One without a case fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from channels.testing import WebsocketCommunicator
from pytest_django import Settings

from apps_registry import services
from apps_registry.devices import issue_token
from apps_registry.models import Device, Scope
from config.asgi import application
from messaging.live.node import Node, current
from messaging.models import Stream
from messaging.protocol import frames
from tests.conftest import World
from tests.zoo import Zoo, everything, leaks

DEVICE, SERVICE = "/ws/device", "/ws/service"
REGISTRY = {DEVICE: frames.DEVICE_TYPES, SERVICE: frames.SERVICE_TYPES}
SCOPES = [scope.value for scope in Scope]
#: Seconds for an answer.
DEADLINE = 10

Frame = dict[str, Any]


class Case(NamedTuple):
    """A frame that names what is another app's. scope: what a key needs for it. told: the frame that answers it."""

    path: str
    members: Frame
    told: str
    scope: str = ""

    @property
    def type(self) -> str:
        return str(self.members["type"])

    def frame(self, hello: Frame) -> Frame:
        """With an id, and the credential where it is a hello."""
        return {"id": 7, **(hello if self.type == "hello" else {}), **self.members}

    def nobodys(self) -> Case:
        """The same about what is nobody's."""
        text = json.dumps(self.members)
        for word in ("den", "cub", "bear", "growl"):
            text = text.replace(word, "nil")
        return self._replace(members=json.loads(text))


def draft(to: str, name: str = "turn") -> Frame:
    return {"type": "publish", "messages": [{"to": to, "name": name, "data": 1}]}


CASES = [
    Case(
        DEVICE,
        {
            "type": "hello",
            "resume": "replay",
            "positions": {"room:den": {"processed": 1}, "device:cub": {"processed": 0}},
        },
        "welcome",
    ),
    Case(DEVICE, {"type": "notice", "state": "background", "state_seq": 9}, "notice_saved"),
    Case(DEVICE, {"type": "ack", "stream": "room:den", "upto": 1}, "error"),
    Case(DEVICE, {"type": "ack", "stream": "device:cub", "upto": 1}, "error"),
    Case(DEVICE, {"type": "ack_latest", "stream": "room:den", "version": 1}, "error"),
    Case(DEVICE, {"type": "results", "stream": "room:den", "upto": 1}, "error"),
    Case(DEVICE, {"type": "results", "stream": "user:bear", "upto": 1}, "error"),
    Case(DEVICE, {"type": "join", "stream": "room:den"}, "error"),
    Case(DEVICE, {"type": "join", "stream": "device:cub"}, "error"),
    Case(DEVICE, {"type": "leave", "stream": "room:den"}, "left"),
    Case(DEVICE, {"type": "leave", "stream": "user:bear"}, "error"),
    Case(DEVICE, {"type": "refresh", "token": "cub's"}, "error"),
    Case(DEVICE, {"type": "ping"}, "pong"),
    Case(SERVICE, {"type": "hello", "listen": ["results", "presence"]}, "welcome", "read"),
    Case(SERVICE, {"type": "hello", "listen": ["results"], "after": 1}, "bye", "read"),
    Case(SERVICE, draft("device:cub"), "published", "publish"),
    Case(SERVICE, draft("user:bear"), "published", "publish"),
    Case(SERVICE, draft("room:den"), "published", "publish"),
    Case(SERVICE, draft("room:lobby", "growl"), "published", "publish"),
    Case(SERVICE, {"type": "ping"}, "pong"),
]
NOT_FIRST = [case for case in CASES if case.type != "hello"]


def title(case: Case) -> str:
    named = case.members.get("stream") or "".join(one["to"] + one["name"] for one in case.members.get("messages", []))
    return f"{case.path[4:]} {case.type} {named}".strip()


@pytest.fixture(autouse=True)
def one_process(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


class Credentials(NamedTuple):
    """Of the world's own phone and game service, and of the zoo's."""

    phone: str
    game: str
    cub: str
    keeper: str

    def hello(self, path: str) -> Frame:
        return {"type": "hello", **({"token": self.phone, "resume": "pull"} if path == DEVICE else {"key": self.game})}


@pytest.fixture
def credentials(world: World, phone: Device, zoo: Zoo, den: Stream) -> Credentials:
    return Credentials(
        issue_token(device=phone, life=600)[0],
        services.create_key(service=world.game, scopes=SCOPES)[1],
        issue_token(device=zoo.cub, life=600)[0],
        services.create_key(service=zoo.keeper, scopes=SCOPES)[1],
    )


class Socket:
    def __init__(self, path: str) -> None:
        self._wire = WebsocketCommunicator(application, path, subprotocols=["meanwhile.v1.json"])

    async def dial(self) -> Socket:
        assert (await self._wire.connect(DEADLINE))[0]
        return self

    async def send(self, **frame: Any) -> None:
        await self._wire.send_json_to(frame)

    async def receive(self) -> Frame:
        frame: Frame = json.loads(await self._wire.receive_from(DEADLINE))
        return frame

    async def heard(self) -> list[Frame]:
        """What had been said before the answer to a ping."""
        await self.send(type="ping", id=999)
        found = [await self.receive()]
        while found[-1].get("re") != 999:
            found.append(await self.receive())
        return found[:-1]

    async def closed(self) -> int:
        output = await self._wire.receive_output(DEADLINE)
        assert output["type"] == "websocket.close", output
        return int(output["code"])

    async def leave(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await self._wire.disconnect(timeout=DEADLINE)


@pytest.fixture
async def dial(node: Node) -> AsyncIterator[Any]:
    opened: list[Socket] = []

    async def make(path: str, **hello: Any) -> Socket:
        """A connection; with a hello, one that has been welcomed."""
        socket = await Socket(path).dial()
        opened.append(socket)
        if hello:
            await socket.send(**hello)
            assert (await socket.receive())["type"] == "welcome"
        return socket

    yield make
    for socket in opened:
        await socket.leave()
    await node.detach()


async def rows(zoo: Zoo | None = None) -> dict[str, list[Any]]:
    """What the database holds, of the zoo or of all."""
    found: dict[str, list[Any]] = await current().reader.ask(lambda: everything(zoo.app if zoo else None))
    return found


async def said(dial: Any, case: Case, hello: Frame) -> list[Frame]:
    """What is answered to a case's frame of who is let in, and what comes behind it; without what differs each time."""
    if case.type == "hello":
        socket = await dial(case.path)
    else:
        socket = await dial(case.path, **hello)
    await socket.send(**case.frame(hello))
    answers = [await socket.receive()]
    if answers[0]["type"] != "bye":
        answers += await socket.heard()
    await socket.leave()
    own = {"server_time", "generation", "state_seq"}
    return [{name: value for name, value in answer.items() if name not in own} for answer in answers]


def without_own_words(answers: list[Frame], case: Case) -> str:
    text = json.dumps(answers)
    for own in {case.members.get("stream"), *(one["to"] for one in case.members.get("messages", []))} - {None}:
        text = text.replace(f'"{own}"', '""')
    return text


def test_every_frame_that_the_server_takes_has_a_case() -> None:
    for path, types in REGISTRY.items():
        assert {case.type for case in CASES if case.path == path} == types, "say in CASES what it could reach"


@pytest.mark.parametrize("case", NOT_FIRST, ids=title)
async def test_before_a_hello_no_frame_is_taken(case: Case, dial: Any, credentials: Credentials) -> None:
    before = await rows()
    socket = await dial(case.path)

    await socket.send(**case.frame({}))
    bye, code = await socket.receive(), await socket.closed()

    assert (bye["type"], bye["code"], code) == ("bye", "hello_expected", 4501)
    assert leaks(json.dumps(bye)) == []
    assert await rows() == before


@pytest.mark.parametrize("case", CASES, ids=title)
async def test_the_other_kind_of_credential_opens_nothing(case: Case, dial: Any, credentials: Credentials) -> None:
    """A device's token at the service socket and a key at the device socket; what follows falls on deaf ears."""
    refusal = "bad_token" if case.path == DEVICE else "bad_key"
    wrong = {"token": credentials.cub} if case.path == SERVICE else {"key": credentials.keeper}
    disguised = {"key": credentials.cub} if case.path == SERVICE else {"token": credentials.keeper}
    before = await rows()

    for hello, expected in ((disguised, (refusal, 4500)), (wrong, ("hello_expected", 4501))):
        socket = await dial(case.path)
        await socket.send(**{**(case.members if case.type == "hello" else {}), **hello, "type": "hello"})
        await socket.send(**case.frame(hello))
        bye, code = await socket.receive(), await socket.closed()
        assert (bye["code"], code) == expected
        assert leaks(json.dumps(bye)) == []

    assert await rows() == before


@pytest.mark.parametrize("case", [case for case in CASES if case.scope], ids=title)
async def test_a_key_without_the_scope_is_refused(
    case: Case, dial: Any, credentials: Credentials, world: World, node: Node
) -> None:
    others = [scope for scope in SCOPES if scope != case.scope]
    _, key = await node.reader.ask(lambda: services.create_key(service=world.game, scopes=others))
    before = await rows()

    (answer,) = await said(dial, case, {"type": "hello", "key": key})

    assert (answer["type"], answer["code"]) == ("bye" if case.type == "hello" else "error", "wrong_scope")
    assert leaks(json.dumps(answer)) == []
    assert await rows() == before


@pytest.mark.parametrize("case", CASES, ids=title)
async def test_what_is_another_apps_seems_not_to_exist_and_stays_as_it_is(
    case: Case, dial: Any, credentials: Credentials, zoo: Zoo
) -> None:
    """The answer is that about what is nobody's; the zoo's own connections hear nothing, its rows do not change."""
    token = {"token": credentials.cub} if case.type == "refresh" else {}
    case = case._replace(members={**case.members, **token})
    keeper = await dial(SERVICE, type="hello", key=credentials.keeper, listen=["results", "presence"])
    cub = await dial(DEVICE, type="hello", token=credentials.cub, resume="pull")
    assert (await keeper.receive())["type"] == "presence"
    before = await rows(zoo)
    hello = credentials.hello(case.path)

    missing = await said(dial, case.nobodys(), hello)
    foreign = await said(dial, case, hello)

    assert foreign[0]["type"] == case.told
    assert leaks(without_own_words(foreign, case)) == []
    if case.type != "refresh":  # who holds another device's token knows of it
        assert without_own_words(foreign, case) == without_own_words(missing, case.nobodys())
    assert (await cub.heard(), await keeper.heard()) == ([], [])
    assert await rows(zoo) == before
