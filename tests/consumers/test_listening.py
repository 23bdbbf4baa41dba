"""Services that listen: results and presence as they come; with the feed no hole and no double."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.consumers.actors import Frame, Phone, Service, Socket
from tests.consumers.conftest import House
from tests.consumers.test_refusals import ends
from tests.servers import PLAIN

Listen = Callable[..., Awaitable[tuple[Socket, Frame]]]


@pytest.fixture
async def listen(house: House) -> AsyncIterator[Listen]:
    """Opens a listening service socket at the last process; → it and its welcome."""
    opened: list[Socket] = []

    async def open_one(*, key: str = "", **members: Any) -> tuple[Socket, Frame]:
        socket = await Socket.open(house.servers[-1].base, "/ws/service")
        opened.append(socket)
        await socket.send("hello", key=key or house.key, **members)
        return socket, await socket.expect("welcome")

    yield open_one
    for socket in opened:
        await socket.close()


async def results(socket: Socket, count: int) -> list[Frame]:
    return [await socket.expect("result") for _ in range(count)]


async def report(phone: Phone, upto: int, **members: Any) -> None:
    answer = await phone.http_at_first.post("/api/v1/results", json={"stream": phone.stream, "upto": upto, **members})
    assert answer.status_code == 200, answer.text


async def test_a_result_reaches_the_service_that_listens(phone: Phone, game_service: Service, listen: Listen) -> None:
    socket, welcome = await listen(listen=["results"])
    await game_service.publish_all(*[{"to": phone.stream, "name": "turn", "data": n} for n in range(3)])

    await report(phone, 3, exceptions=[{"offset": 2, "code": "TypeError", "detail": "no"}])
    told = await results(socket, 3)

    assert welcome["listen"] == ["results"]
    assert [one["position"] for one in told] == [welcome["position"] + n for n in (1, 2, 3)]
    assert [(one["from"], one["upto"], one["status"], one["code"]) for one in told] == [
        (1, 1, "processed", ""),
        (2, 2, "failed", "TypeError"),
        (3, 3, "processed", ""),
    ]
    assert {(one["device"], one["stream"]) for one in told} == {(phone.name, phone.stream)}


async def test_who_was_away_goes_on_where_it_stopped(phone: Phone, game_service: Service, listen: Listen) -> None:
    first, welcome = await listen(listen=["results"])
    await game_service.publish_all(*[{"to": phone.stream, "name": "turn", "data": n} for n in range(6)])
    await report(phone, 1)
    (known,) = await results(first, 1)
    await first.close()
    for upto in (2, 3):
        await report(phone, upto)

    second, again = await listen(listen=["results"], after=known["position"])
    await report(phone, 4)
    told = await results(second, 3)
    page = await game_service.http.get("/api/v1/results", params={"after": welcome["position"]})

    assert again["position"] == known["position"]
    assert [one["upto"] for one in told] == [2, 3, 4]
    live = [{name: value for name, value in one.items() if name != "type"} for one in [known, *told]]
    assert live == page.json()["items"]


async def test_a_long_absence_is_replayed_without_hole_or_double(
    phone: Phone, game_service: Service, listen: Listen
) -> None:
    _, welcome = await listen(listen=["results"])
    for start in range(0, 450, 150):
        await game_service.publish_all(
            *[{"to": phone.stream, "name": "turn", "data": n} for n in range(start, start + 150)]
        )
    values = [{"offset": n, "value": n} for n in range(1, 451)]
    await report(phone, 450, values=values)

    socket, _ = await listen(listen=["results"], after=welcome["position"])
    told = await results(socket, 450)

    assert [one["position"] - welcome["position"] for one in told] == list(range(1, 451))
    assert [one["value"] for one in told] == list(range(1, 451))
    assert await socket.quiet() == []


async def test_two_connections_of_a_service_both_hear(phone: Phone, game_service: Service, listen: Listen) -> None:
    one, _ = await listen(listen=["results"])
    other, _ = await listen(listen=["results"])
    await game_service.publish(phone.stream)

    await report(phone, 1)

    assert await results(one, 1) == await results(other, 1)


async def test_a_position_the_feed_has_not_got_to_is_of_another_history(house: House, listen: Listen) -> None:
    socket = await Socket.open(house.base, "/ws/service")
    await socket.send("hello", key=house.key, listen=["results"], after=10**9)

    await ends(socket, 4510, "position_gone")


async def test_who_did_not_ask_hears_nothing(phone: Phone, game_service: Service) -> None:
    await game_service.publish(phone.stream)

    await report(phone, 1)

    assert await game_service.socket.quiet() == []


async def test_a_service_hears_where_devices_are(phone: Phone, listen: Listen) -> None:
    socket, _ = await listen(listen=["presence"])

    connection, _ = await phone.connect()
    here = await until_presence(socket, phone, "foreground")
    await phone.notice(connection, "background")
    away = await until_presence(socket, phone, "background")
    await connection.close()
    gone = await until_presence(socket, phone, "offline")

    assert here["at"] < away["at"] < gone["at"]


async def test_a_quick_reconnect_is_no_news_to_services(phone: Phone, listen: Listen) -> None:
    socket, _ = await listen(listen=["presence"])
    connection, _ = await phone.connect()
    await until_presence(socket, phone, "foreground")

    for _ in range(3):
        await connection.close()
        connection, _ = await phone.connect()
    await phone.notice(connection, "background")

    # Nothing was told in between.
    await until_presence(socket, phone, "background")
    await connection.close()
    await until_presence(socket, phone, "offline")


async def until_presence(socket: Socket, phone: Phone, state: str) -> Frame:
    """The first that is said of the phone, which must be this."""
    while (frame := await socket.expect("presence"))["device"] != phone.name:
        pass
    assert frame["state"] == state
    return frame


async def test_listening_needs_the_scope_read(house: House, listen: Listen) -> None:
    key = await asyncio.to_thread(house.key_of, "publish")
    socket = await Socket.open(house.base, "/ws/service")
    await socket.send("hello", key=key, listen=["results"])

    await ends(socket, 4507, "wrong_scope")


async def test_a_key_revoked_over_http_ends_its_connections_within_five_seconds(
    game_service: Service, listen: Listen
) -> None:
    made = (await game_service.http.post("/api/v1/keys", json={"scopes": ["read", "publish"]})).json()
    socket, _ = await listen(key=made["key"], listen=["presence"])

    revoked = await game_service.http.delete(f"/api/v1/keys/{made['prefix']}")

    assert revoked.status_code == 204
    async with asyncio.timeout(5):
        await ends(socket, 4500, "bad_key")


async def test_a_revoked_key_ends_its_connections(house: House, listen: Listen) -> None:
    key = await asyncio.to_thread(house.key_of, "read")
    socket, _ = await listen(key=key, listen=["results"])

    await asyncio.to_thread(house.revoke, key)

    await ends(socket, 4500, "bad_key")


async def test_another_apps_service_hears_nothing(
    phone: Phone, game_service: Service, house: House, listen: Listen
) -> None:
    key = await asyncio.to_thread(house.stranger_key)
    socket, _ = await listen(key=key, listen=["results", "presence"])
    ours, _ = await listen(listen=["results", "presence"])
    await phone.connect()
    await game_service.publish(phone.stream)
    await report(phone, 1)
    while (await ours.receive())["type"] != "result":
        pass

    async with httpx.AsyncClient(verify=PLAIN, base_url=house.base, headers={"Authorization": f"Bearer {key}"}) as http:
        assert (await http.get("/api/v1/results")).json() == {"items": [], "next": 0}
    assert await socket.quiet() == []


async def test_where_is_the_message_now(phone: Phone, game_service: Service, house: House) -> None:
    async def state() -> str:
        answers = [await service.get(f"/api/v1/messages/{phone.stream}/1") for service in services]
        return next((s for a in answers if (s := a.json()["items"][0]["state"]) != "stored"), "stored")

    # The connection is at one of the processes: only that one knows of the push.
    headers = {"Authorization": f"Bearer {house.key}"}
    services = [httpx.AsyncClient(verify=PLAIN, base_url=server.base, headers=headers) for server in house.servers]
    await game_service.publish(phone.stream)
    found = [await state()]
    socket, _ = await phone.connect(resume="replay")
    await socket.until("message")
    found.append(await state())
    await socket.send("ack", stream=phone.stream, upto=1)
    async with asyncio.timeout(10):
        # Taken out of the window at once, in the database a moment later.
        while await state() in {"pushed", "stored"}:
            pass
    found.append(await state())
    await socket.send("results", stream=phone.stream, upto=1, exceptions=[{"offset": 1}], id=1)
    await socket.until("results_saved")
    found.append(await state())
    for service in services:
        await service.aclose()

    assert found == ["stored", "pushed", "received", "failed"]
