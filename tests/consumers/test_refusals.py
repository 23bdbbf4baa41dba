from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.consumers.actors import Phone, Service, Socket, messages
from tests.consumers.conftest import House

NewPhone = Callable[..., Awaitable[Phone]]


async def ends(socket: Socket, code: int, name: str) -> None:
    bye = (await socket.until("bye"))[-1]
    assert (bye["code"], bye["reconnect"]) == (name, code < 4500)
    assert await socket.closed() == code


async def test_a_hello_with_a_forged_token_ends_the_connection(phone: Phone) -> None:
    socket = await phone.dial()
    head, body, _ = phone.token.split(".")
    await socket.send("hello", token=f"{head}.{body}.{'A' * 43}")

    await ends(socket, 4500, "bad_token")


async def test_who_says_nothing_is_sent_away(phone: Phone) -> None:
    """And may come back: a slow network may have kept its hello."""
    socket = await phone.dial()

    await ends(socket, 4012, "silent")


@pytest.mark.parametrize("text", ['{"type":"ping"}', "hello", "[]", '{"type":"hello"}', '{"type":"hello","token":7}'])
async def test_the_first_frame_must_be_a_hello(phone: Phone, text: str) -> None:
    socket = await phone.dial()
    await socket.send_text(text)

    await ends(socket, 4501, "hello_expected")


async def test_a_hello_above_4_kib_is_refused(phone: Phone) -> None:
    socket = await phone.dial()
    await socket.send("hello", token=phone.token, client="x" * 4096)

    await ends(socket, 4501, "hello_expected")


async def test_the_4_kib_of_a_hello_are_bytes(phone: Phone) -> None:
    socket = await phone.dial()
    await socket.send_text(
        json.dumps({"type": "hello", "token": phone.token, "client": "ü" * 2000}, ensure_ascii=False)
    )

    await ends(socket, 4501, "hello_expected")


async def test_the_newest_connection_of_a_device_wins(phone: Phone, game_service: Service) -> None:
    older, _ = await phone.connect()
    newer, welcome = await phone.connect()

    await ends(older, 4509, "superseded")
    await game_service.publish(phone.stream)
    assert welcome["generation"] == 2
    assert [one["offset"] for one in await newer.messages(1)] == [1]


async def test_two_connections_that_fight_are_slowed_down(phone: Phone, house: House) -> None:
    older, _ = await phone.connect()
    for _ in range(4 * len(house.servers) - 1):
        newer, _ = await phone.connect()
        await ends(older, 4509, "superseded")
        older = newer

    socket = await phone.dial()
    await socket.send("hello", token=phone.token)

    await ends(socket, 4029, "too_many_frames")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_json"),
        ("{", "bad_json"),
        ('{"type":"ack","stream":"a","stream":"b","upto":1}', "bad_json"),
        ('{"type":"results","upto":NaN}', "bad_json"),
        ('{"type":"ping","client":1e999}', "bad_json"),
        ('{"type":"ping","client":"\\ud800"}', "bad_json"),
        ('{"type":"ping","client":"\\u0000"}', "bad_json"),
        ('{"type":"ping","client":' + "[" * 40 + "]" * 40 + "}", "too_deep"),
        ('{"type":"ping","client":' + "[" * 5000 + "]" * 5000 + "}", "too_deep"),
        ('{"type":"ping","client":"' + "x" * 300_000 + '"}', "too_large"),
        (
            '{"type":"results","stream":"x","upto":1,"values":[{"offset":1,"value":"' + "x" * 65_535 + '"}]}',
            "too_large",
        ),
        ('{"type":"dance","id":4}', "unknown_type"),
        ('{"no":"type"}', "invalid"),
        ("[1,2]", "invalid"),
        ("7", "invalid"),
        ('{"type":"ack","stream":"room:x","upto":"1"}', "invalid"),
        ('{"type":"ack","stream":"room:x","upto":-1}', "invalid"),
        ('{"type":"ack","stream":"room:x","upto":9007199254740992}', "invalid"),
        ('{"type":"ack","stream":"room:x","upto":1.5}', "invalid"),
        ('{"type":"notice","state":"asleep","state_seq":3}', "invalid"),
        ('{"type":"results","stream":"room:x"}', "invalid"),
        ('{"type":"ack","stream":"room:of-somebody-else","upto":1}', "unknown_stream"),
        ('{"type":"results","stream":"device:nobody","upto":1}', "unknown_stream"),
        ('{"type":"ack_latest","stream":"nonsense","version":1}', "unknown_stream"),
        ('{"type":"join","stream":"room:secret","id":1}', "not_allowed"),
        ('{"type":"join","stream":"user:somebody","id":1}', "not_allowed"),
        ('{"type":"leave","stream":"device:me"}', "not_allowed"),
        ('{"type":"hello","token":"x"}', "invalid"),
    ],
)
async def test_a_bad_frame_gets_its_error_and_the_socket_stays(
    phone: Phone, game_service: Service, text: str, code: str
) -> None:
    socket, _ = await phone.connect()

    await socket.send_text(text)
    error = await socket.expect("error")
    await game_service.publish(phone.stream)

    assert (error["code"], error["temporary"]) == (code, False)
    assert error["title"]
    assert [one["offset"] for one in await socket.messages(1)] == [1]


async def test_an_error_echoes_the_id_where_it_can_be_read(phone: Phone) -> None:
    socket, _ = await phone.connect()

    replies = [
        await socket.ask("dance"),
        await socket.ask("ack", stream=phone.stream),
        await socket.ask("join", stream="room:secret"),
    ]

    assert [reply["code"] for reply in replies] == ["unknown_type", "invalid", "not_allowed"]


async def test_a_binary_frame_is_refused(phone: Phone) -> None:
    socket, _ = await phone.connect()

    await socket.send_text(b"\x00\x01")

    assert (await socket.expect("error"))["code"] == "invalid"


async def test_twenty_malformed_frames_end_the_connection(phone: Phone) -> None:
    socket, _ = await phone.connect()

    for _ in range(20):
        await socket.send_text("{")

    await ends(socket, 4501, "not_the_protocol")


async def test_a_flood_of_frames_ends_the_connection(phone: Phone) -> None:
    socket, _ = await phone.connect()

    async def flood() -> None:
        """As long as it takes: a busy machine may handle a fixed number so slowly that they are not too many."""
        with suppress(ConnectionClosed):
            while True:
                await socket.send("ack", stream=phone.stream, upto=0)
                await asyncio.sleep(0)  # what comes is read

    flooding = asyncio.create_task(flood())

    await ends(socket, 4029, "too_many_frames")
    flooding.cancel()


async def test_a_client_of_another_subprotocol_is_told(phone: Phone) -> None:
    socket = await phone.dial(subprotocols=["mqtt"])

    await ends(socket, 4501, "not_the_protocol")


async def test_no_subprotocol_is_served_too(phone: Phone) -> None:
    socket = await phone.dial(subprotocols=None)
    await socket.send("hello", token=phone.token)

    await socket.expect("welcome")


async def test_an_origin_that_is_not_listed_is_refused(phone: Phone, house: House) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await phone.dial(origin="https://evil.example")

    assert refused.value.response.status_code == 403
    own = await Socket.open(house.base, "/ws/device", origin=house.base)
    await own.close()


async def test_an_old_epoch_is_refused_in_acks_and_results(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()
    await game_service.publish(phone.stream)
    await socket.expect("message")

    replies = [
        await socket.ask("ack", stream=phone.stream, upto=1, epoch="0123456789abcdef"),
        await socket.ask("results", stream=phone.stream, upto=1, epoch="0123456789abcdef"),
    ]

    assert [reply["code"] for reply in replies] == ["epoch_changed", "epoch_changed"]
    page = await phone.pending(stream=phone.stream)
    assert (page["streams"][phone.stream]["processed"], len(page["messages"])) == (0, 1)


async def test_a_receipt_that_is_refused_leaves_the_message_to_be_sent_again(
    phone: Phone, game_service: Service
) -> None:
    socket, _ = await phone.connect(resume="replay")
    await socket.caught_up()
    await game_service.publish(phone.stream)
    await socket.expect("message")

    await socket.ask("ack", stream=phone.stream, upto=1, epoch="0123456789abcdef")
    await phone.notice(socket, "background")
    await phone.notice(socket, "foreground")

    assert [one["offset"] for one in messages(await socket.caught_up())] == [1]


async def test_exceptions_above_upto_are_refused_and_change_nothing(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()
    await game_service.publish_all(*[{"to": phone.stream, "name": "turn", "data": n} for n in range(2)])
    await socket.messages(2)

    reply = await socket.ask("results", stream=phone.stream, upto=1, exceptions=[{"offset": 2}])

    assert reply["code"] == "invalid"
    assert len((await phone.pending(stream=phone.stream))["messages"]) == 2


async def test_a_revoked_device_is_sent_away_and_cannot_come_back(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()

    revoked = await game_service.http.post(f"/api/v1/devices/{phone.name}/revoke")

    assert revoked.status_code in {200, 204}, revoked.text
    await ends(socket, 4503, "device_revoked")
    again = await phone.dial()
    await again.send("hello", token=phone.token)
    await ends(again, 4503, "device_revoked")


async def test_a_refreshed_token_is_taken_and_a_foreign_one_is_not(
    phone: Phone, new_phone: NewPhone, game_service: Service
) -> None:
    other = await new_phone()
    socket, _ = await phone.connect()

    good = await socket.ask("refresh", token=phone.token)
    bad = await socket.ask("refresh", token=other.token)

    assert good["type"] == "refreshed"
    assert bad["code"] == "bad_token"
    assert await socket.quiet() == []


async def test_a_service_with_a_bad_key_is_refused(house: House) -> None:
    socket = await Socket.open(house.base, "/ws/service")
    await socket.send("hello", key="mw_aaaaaaaaaaaa_" + "b" * 43)

    await ends(socket, 4500, "bad_key")


async def test_one_bad_draft_does_not_sink_the_others(phone: Phone, game_service: Service) -> None:
    items = await game_service.publish_all(
        {"to": phone.stream, "name": "turn", "data": 1},
        {"to": phone.stream, "name": "turn"},
        {"to": phone.stream, "name": "turn", "data": "x" * 70_000},
        {"to": "device:nobody", "name": "turn", "data": 1},
        {"to": phone.stream, "name": "unheard", "data": 1},
        {"to": [], "name": "turn", "data": 1},
        {"to": phone.stream, "name": "turn", "data": 2, "ttl": 0},
        {"to": phone.stream, "name": "turn", "data": 2},
    )

    told = [item["problem"]["code"] if "problem" in item else item["offset"] for item in items]
    assert told == [1, "invalid", "too_large", "unknown_device", "unknown_name", "invalid", "invalid", 2]


async def test_a_publish_that_is_not_json_stores_nothing(phone: Phone, game_service: Service) -> None:
    draft = f'{{"to":"{phone.stream}","name":"turn","data":%s}}'
    for bad in ("NaN", "1e999", '"\\ud800"', '"\\u0000"', '{"a":1,"a":2}'):
        await game_service.socket.send_text('{"type":"publish","id":1,"messages":[%s]}' % (draft % bad))
        assert (await game_service.socket.expect("error"))["code"] == "bad_json"

    assert (await game_service.publish(phone.stream))["offset"] == 1


async def test_large_numbers_and_texts_pass_through_unchanged(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()
    data = '{"n":12345678901234567890,"f":1.50,"t":"\\ud83d\\ude00 ü \\u2028","deep":' + "[" * 20 + "]" * 20 + "}"
    text = f'{{"type":"publish","id":1,"messages":[{{"to":"{phone.stream}","name":"turn","data":{data}}}]}}'
    await game_service.socket.send_text(text)
    await game_service.socket.expect("published")

    pushed = await socket.expect("message")

    assert pushed["data"] == json.loads(data)


async def test_a_token_made_void_ends_the_open_connection(phone: Phone, game_service: Service, house: House) -> None:
    socket, _ = await phone.connect()

    # Registered for another user: tokens of the one before must not open the new one's streams.
    await game_service.http.post("/api/v1/devices", json={"device": phone.name, "user": f"{phone.user}-too"})

    await ends(socket, 4005, "token_expired")
