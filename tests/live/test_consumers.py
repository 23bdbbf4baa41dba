"""The consumers by themselves, with Channels' communicator: no server in between."""

from __future__ import annotations

import json
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator

from apps_registry.devices import issue_token
from apps_registry.models import Device
from apps_registry.services import create_key
from config.asgi import application
from messaging.live.node import Node
from messaging.log.effects import Effects
from tests.conftest import World


async def opened(path: str, **hello: Any) -> tuple[WebsocketCommunicator, dict[str, Any]]:
    """A connection that has said hello, and the first frame it got."""
    socket = WebsocketCommunicator(application, path, subprotocols=["meanwhile.v1.json"])
    connected, subprotocol = await socket.connect()
    assert (connected, subprotocol) == (True, "meanwhile.v1.json")
    await socket.send_json_to({"type": "hello", **hello})
    return socket, await socket.receive_json_from()


async def test_a_published_message_is_pushed_and_its_result_saved(node: Node, world: World, phone: Device) -> None:
    _, key = await node.reader.ask(lambda: create_key(service=world.game, scopes=["publish"]))
    token, _ = issue_token(device=phone, life=60)
    device, welcome = await opened("/ws/device", token=token, state_seq=1, resume="pull")
    service, _ = await opened("/ws/service", key=key)

    drafts = [{"to": "device:phone", "name": "turn", "data": {"to": "north"}}]
    await service.send_json_to({"type": "publish", "id": 1, "messages": drafts})
    published = await service.receive_json_from()
    pushed = await device.receive_json_from()
    await device.send_json_to({"type": "results", "id": 2, "stream": "device:phone", "upto": 1})
    saved = await device.receive_json_from()
    await device.disconnect()
    await service.disconnect()
    await node.detach()

    assert welcome["type"] == "welcome"
    assert published == {"type": "published", "re": 1, "items": [{"stream": "device:phone", "offset": 1}]}
    assert (pushed["type"], pushed["offset"], pushed["data"]) == ("message", 1, {"to": "north"})
    assert saved == {"type": "results_saved", "re": 2, "stream": "device:phone", "processed": 1}


async def test_background_and_foreground_notices_are_answered(node: Node, world: World, phone: Device) -> None:
    token, _ = issue_token(device=phone, life=60)
    device, _ = await opened("/ws/device", token=token, state_seq=1, resume="pull")

    await device.send_json_to({"type": "notice", "id": 3, "state": "background", "state_seq": 2})
    away = await device.receive_json_from()
    await device.send_json_to({"type": "notice", "id": 4, "state": "foreground", "state_seq": 3})
    back = await device.receive_json_from()
    await device.disconnect()
    await node.detach()

    assert (away["re"], away["state"], away["streams"]) == (3, "background", [])
    assert (back["re"], back["state"]) == (4, "foreground")
    assert {one["stream"]: one["cut"] for one in back["streams"]} == {
        "device:phone": 0,
        "room:lobby": 0,
        "user:ann": 0,
    }


async def test_a_value_nobody_was_told_of_goes_out_before_a_newer_one(node: Node, world: World, phone: Device) -> None:
    token, _ = issue_token(device=phone, life=60)
    device, _ = await opened("/ws/device", token=token, state_seq=1, resume="pull")

    await node.reader.ask(lambda: world.publish("device:phone", "weather", key="oslo"))  # its wake-up is lost
    effects = Effects()
    berlin = world.publication("device:phone", "weather", key="berlin")
    await node.reader.ask(lambda: world.publish_all(berlin, effects=effects))
    node.announce(effects)
    told = [await device.receive_json_from(), await device.receive_json_from()]
    await device.disconnect()
    await node.detach()

    assert [(frame["key"], frame["version"]) for frame in told] == [("oslo", 1), ("berlin", 2)]


async def test_whose_hello_is_under_way_at_the_end_of_the_process_is_told_when_to_return(
    node: Node, world: World, phone: Device
) -> None:
    token, _ = issue_token(device=phone, life=60)
    device = WebsocketCommunicator(application, "/ws/device", subprotocols=["meanwhile.v1.json"])
    await device.connect()

    await device.send_json_to({"type": "hello", "token": token})
    node.goodbye()
    frames = [await device.receive_json_from()]
    while frames[-1]["type"] != "bye":
        frames.append(await device.receive_json_from())
    closed = await device.receive_output()
    await node.detach()

    assert (frames[-1]["code"], frames[-1]["reconnect"], closed["code"]) == ("restart", True, 4001)


async def test_who_comes_at_the_end_of_the_process_is_told_to_return_not_all_at_once(node: Node) -> None:
    node.goodbye()
    returns = set()
    for _ in range(8):
        device = WebsocketCommunicator(application, "/ws/device", subprotocols=["meanwhile.v1.json"])
        await device.connect()
        returns.add((await device.receive_json_from())["retry_after_ms"])
    await node.detach()

    assert len(returns) > 4


async def test_a_consumer_has_no_channel_of_its_own(node: Node, world: World, phone: Device) -> None:
    token, _ = issue_token(device=phone, life=60)
    device, _ = await opened("/ws/device", token=token)
    session = node.hub.sessions[phone.pk]

    assert not hasattr(session.link, "channel_name")
    await device.disconnect()
    await node.detach()


@pytest.mark.parametrize("origin", ["https://app.example.com", "http://[", "null"])
async def test_a_page_that_is_not_listed_is_refused_and_the_log_says_which(
    origin: str, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "meanwhile.sockets")
    headers = [(b"host", b"push.example.com"), (b"origin", origin.encode())]
    socket = WebsocketCommunicator(application, "/ws/device", headers=headers)

    connected, code = await socket.connect()
    await node.detach()

    assert (connected, code) == (False, 4507)
    assert repr(origin) in caplog.text


async def test_the_servers_own_page_is_let_in(node: Node) -> None:
    headers = [(b"host", b"push.example.com:8443"), (b"origin", b"https://push.example.com:8443")]
    socket = WebsocketCommunicator(application, "/ws/device", headers=headers)

    connected, _ = await socket.connect()
    await socket.disconnect()
    await node.detach()

    assert connected


async def test_a_bad_first_frame_is_answered_and_closed(node: Node) -> None:
    socket = WebsocketCommunicator(application, "/ws/device")
    await socket.connect()
    await socket.send_to(text_data="nonsense")

    bye = json.loads(await socket.receive_from())
    closed = await socket.receive_output()
    await node.detach()

    assert (bye["type"], bye["code"]) == ("bye", "hello_expected")
    assert (closed["type"], closed["code"]) == ("websocket.close", 4501)
