"""Who is put into rooms and taken out of them while it is connected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.db import transaction
from django.test import Client

from apps_registry.devices import issue_token
from apps_registry.models import Device
from apps_registry.services import create_key
from config.asgi import application
from messaging.live import repair
from messaging.live.node import Node
from messaging.log import membership
from messaging.log.membership import entry_of
from messaging.log.reading import entries
from tests.conftest import World

ROOM = "room:lobby"


@pytest.fixture
async def connected(node: Node, world: World, phone: Device) -> AsyncIterator[WebsocketCommunicator]:
    """The phone's socket, whose hello has been answered."""
    token, _ = issue_token(device=phone, life=60)
    socket = WebsocketCommunicator(application, "/ws/device", subprotocols=["meanwhile.v1.json"])
    await socket.connect()
    await socket.send_json_to({"type": "hello", "token": token, "resume": "pull"})
    await socket.receive_json_from()
    yield socket
    await socket.disconnect()
    await node.detach()


@transaction.atomic
def move(world: World, device: Device, *, to: str) -> None:
    """Out of the lobby and into another room, or into the lobby anew."""
    membership.unsubscribe([(device.pk, ROOM)])
    membership.subscribe([(world.app.pk, device.pk, to)])


async def told(socket: WebsocketCommunicator, count: int) -> list[tuple[Any, Any]]:
    frames = [await socket.receive_json_from() for _ in range(count)]
    return [(frame["type"], frame["stream"]) for frame in frames]


async def test_when_a_service_has_its_answer_the_device_is_out(
    connected: WebsocketCommunicator, node: Node, world: World, phone: Device
) -> None:
    _, key = await node.reader.ask(lambda: create_key(service=world.game, scopes=["manage"]))
    service = Client(headers={"authorization": f"Bearer {key}"})

    answer = await node.reader.ask(lambda: service.delete(f"/api/v1/streams/{ROOM}/members/{phone.name}"))
    ways = list(node.hub.sessions[phone.pk].ways)

    assert answer.status_code == 204
    assert ROOM not in ways
    assert await told(connected, 1) == [("left", ROOM)]
    assert await connected.receive_nothing()


@pytest.mark.parametrize("to", [ROOM, "room:arena"])
async def test_out_and_in_is_found_when_no_wake_up_tells_of_it(
    to: str, connected: WebsocketCommunicator, node: Node, world: World, phone: Device
) -> None:
    before = node.hub.sessions[phone.pk].ways[ROOM]

    await node.reader.ask(lambda: move(world, phone, to=to))
    await repair.devices(node.hub, node.reader)

    assert await told(connected, 2) == [("left", ROOM), ("joined", to)]
    assert node.hub.sessions[phone.pk].ways[to].subscription_id != before.subscription_id


async def test_a_waiting_pull_is_woken_when_no_wake_up_tells_of_a_room(node: Node, world: World, phone: Device) -> None:
    everything, alone = await node.reader.ask(
        lambda: [entries([phone.pk])[phone.pk], [entry_of(phone.pk, "device:phone")]]
    )
    waiting = [
        asyncio.create_task(node.hub.watch(phone.pk, everything, 30)),
        asyncio.create_task(node.hub.watch(phone.pk, alone, 30, everything=False)),
    ]
    await asyncio.wait(waiting, timeout=0)

    await repair.pulls(node.hub, node.reader)
    await asyncio.wait(waiting, timeout=0)
    woken_by_nothing = [task.done() for task in waiting]
    await node.reader.ask(lambda: move(world, phone, to="room:arena"))
    await repair.pulls(node.hub, node.reader)
    done, _ = await asyncio.wait(waiting, timeout=2, return_when=asyncio.FIRST_COMPLETED)

    assert woken_by_nothing == [False, False]
    assert done == {waiting[0]}
    node.hub.end_watches()
    await asyncio.gather(*waiting)
