"""Every message of docs/reference/asyncapi.yaml, in both directions, over a real socket. One without a case fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests import wiretap
from tests.asyncapi import OPERATIONS, payloads
from tests.consumers.actors import Frame, Phone, Service, Socket
from tests.consumers.conftest import House

DOCUMENTED = [(operation, kind) for both in OPERATIONS.values() for operation in both for kind in payloads(operation)]


@dataclass
class Stage:
    house: House
    phone: Phone
    game_service: Service
    new_phone: Callable[..., Awaitable[Phone]]
    sockets: list[Socket] = field(default_factory=list)

    async def service(self, **hello: Any) -> Socket:
        """A connection of the game service that has said hello; nothing has been read from it."""
        socket = await Socket.open(self.house.servers[-1].base, "/ws/service")
        self.sockets.append(socket)
        await socket.send("hello", **{"key": self.house.key, **hello})
        return socket

    async def processed(self, phone: Phone) -> None:
        """A message to a phone, and its result."""
        await self.game_service.publish(phone.stream)
        answer = await phone.http_at_first.post("/api/v1/results", json={"stream": phone.stream, "upto": 1})
        assert answer.status_code == 200, answer.text


@pytest.fixture
async def stage(
    house: House, phone: Phone, game_service: Service, new_phone: Callable[..., Awaitable[Phone]]
) -> AsyncIterator[Stage]:
    made = Stage(house, phone, game_service, new_phone)
    yield made
    for socket in made.sockets:
        await socket.close()


# --- devices ---------------------------------------------------------------------------------------------------------


async def comes(on: Stage) -> Frame:
    return (await on.phone.connect())[1]


async def pings(on: Stage) -> Frame:
    socket, _ = await on.phone.connect()
    return await socket.ask("ping")


async def goes_away(on: Stage) -> Frame:
    socket, _ = await on.phone.connect()
    return await on.phone.notice(socket, "background")


async def receives(on: Stage) -> Frame:
    socket, _ = await on.phone.connect()
    await on.game_service.publish(on.phone.stream)
    message = await socket.expect("message")
    await socket.send("ack", stream=on.phone.stream, upto=1)
    assert await socket.quiet() == []
    return message


async def receives_several(on: Stage) -> Frame:
    await on.game_service.publish_all(*[{"to": on.phone.stream, "name": "turn", "data": n} for n in range(5)])
    socket, _ = await on.phone.connect(resume="replay")
    frames = await socket.caught_up()
    return next(frame for frame in frames if frame["type"] == "messages")


async def catches_up(on: Stage) -> Frame:
    socket, _ = await on.phone.connect(resume="replay")
    return (await socket.caught_up())[-1]


async def receives_a_value(on: Stage) -> Frame:
    socket, _ = await on.phone.connect()
    await on.game_service.publish(on.phone.room, "weather", 21, key="berlin")
    value = await socket.expect("latest")
    await socket.send("ack_latest", stream=on.phone.room, version=value["version"])
    assert await socket.quiet() == []
    return value


async def sees_a_remark(on: Stage) -> Frame:
    socket, _ = await on.phone.connect()
    await on.house.witness.settle()
    await on.game_service.publish(on.phone.room, "chat", "hi")
    return await socket.expect("transient")


async def reports(on: Stage) -> Frame:
    await on.game_service.publish(on.phone.stream)
    socket, _ = await on.phone.connect()
    return await socket.ask("results", stream=on.phone.stream, upto=1, values=[{"offset": 1, "value": {"ok": True}}])


async def missed_something(on: Stage) -> Frame:
    await on.game_service.publish(on.phone.room)
    await on.game_service.http.post(f"/api/v1/streams/{on.phone.room}/purge", json={"upto": 1})
    socket, _ = await on.phone.connect(resume="replay")
    return next(frame for frame in await socket.caught_up() if frame["type"] == "gap")


async def leaves(on: Stage) -> Frame:
    socket, _ = await on.phone.connect()
    return await socket.ask("leave", stream=on.phone.room)


async def joins(on: Stage) -> Frame:
    socket, _ = await on.phone.connect()
    await socket.ask("leave", stream=on.phone.room)
    return await socket.ask("join", stream=on.phone.room)


async def sees_a_room_end(on: Stage) -> Frame:
    socket, _ = await on.phone.connect()
    await on.game_service.http.post(f"/api/v1/streams/{on.phone.room}/close")
    return await socket.expect("stream_closed")


async def refreshes(on: Stage) -> Frame:
    socket, _ = await on.phone.connect()
    fresh = await on.game_service.http.post(f"/api/v1/devices/{on.phone.name}/token")
    return await socket.ask("refresh", token=fresh.json()["token"])


async def errs(on: Stage) -> Frame:
    socket, _ = await on.phone.connect()
    return await socket.ask("ack", stream="room:nowhere", upto=1)


async def is_replaced(on: Stage) -> Frame:
    older, _ = await on.phone.connect()
    await on.phone.connect()
    return await older.expect("bye")


# --- services --------------------------------------------------------------------------------------------------------


async def service_comes(on: Stage) -> Frame:
    return await (await on.service(listen=["results", "presence"])).expect("welcome")


async def service_publishes(on: Stage) -> Frame:
    return await on.game_service.socket.ask(
        "publish",
        messages=[{"to": [on.phone.stream, "device:nobody"], "name": "turn", "data": 1, "id": "a", "ttl": 60}],
    )


async def service_pings(on: Stage) -> Frame:
    return await on.game_service.socket.ask("ping")


async def service_hears_a_result(on: Stage) -> Frame:
    socket = await on.service(listen=["results"])
    await socket.expect("welcome")
    await on.processed(on.phone)
    return await socket.expect("result")


async def service_missed_results(on: Stage) -> Frame:
    """Those of a device that was deleted since."""
    socket = await on.service(listen=["results"])
    before = (await socket.expect("welcome"))["position"]
    for phone in (on.phone, await on.new_phone()):
        await on.processed(phone)
        await socket.expect("result")
    on.house.delete_device(on.phone.name)
    late = await on.service(listen=["results"], after=before)
    await late.expect("welcome")
    return await late.expect("results_gap")


async def service_sees_who_comes(on: Stage) -> Frame:
    socket = await on.service(listen=["presence"])
    await socket.expect("welcome")
    await on.phone.connect()
    return await socket.expect("presence")


async def service_errs(on: Stage) -> Frame:
    return await on.game_service.socket.ask("publish", messages=[])


async def service_has_no_key(on: Stage) -> Frame:
    return await (await on.service(key="nonsense")).expect("bye")


CASES: dict[str, dict[str, Callable[[Stage], Awaitable[Frame]]]] = {
    "fromDevice": {
        "hello": comes,
        "ping": pings,
        "notice": goes_away,
        "ack": receives,
        "ack_latest": receives_a_value,
        "results": reports,
        "join": joins,
        "leave": leaves,
        "refresh": refreshes,
    },
    "toDevice": {
        "welcome": comes,
        "pong": pings,
        "notice_saved": goes_away,
        "message": receives,
        "messages": receives_several,
        "caught_up": catches_up,
        "latest": receives_a_value,
        "transient": sees_a_remark,
        "results_saved": reports,
        "gap": missed_something,
        "joined": joins,
        "left": leaves,
        "stream_closed": sees_a_room_end,
        "refreshed": refreshes,
        "error": errs,
        "bye": is_replaced,
    },
    "fromService": {"hello": service_comes, "publish": service_publishes, "ping": service_pings},
    "toService": {
        "welcome": service_comes,
        "published": service_publishes,
        "pong": service_pings,
        "result": service_hears_a_result,
        "results_gap": service_missed_results,
        "presence": service_sees_who_comes,
        "error": service_errs,
        "bye": service_has_no_key,
    },
}


@pytest.mark.parametrize(("operation", "kind"), DOCUMENTED)
async def test_every_documented_frame_occurs_as_documented(operation: str, kind: str, stage: Stage) -> None:
    assert kind in CASES[operation], f"say in CASES how a {kind} comes about"

    last = await CASES[operation][kind](stage)

    assert (operation, kind) in wiretap.seen()
    assert wiretap.faults() == []
    if operation.startswith("to"):
        assert last["type"] == kind
    else:
        assert last["type"] not in {"error", "bye"}


def test_there_is_no_case_without_a_frame() -> None:
    assert sorted((operation, kind) for operation, kinds in CASES.items() for kind in kinds) == sorted(DOCUMENTED)
