"""What a server does by itself, at intervals."""

from __future__ import annotations

from typing import Any

from apps_registry import webhooks
from apps_registry.models import Device
from messaging.live.node import Node
from messaging.models import FallenBehind, WebhookEvent
from tests.conftest import World
from tests.waiting import until


async def test_a_server_notices_who_falls_behind(node: Node, world: World, phone: Device, settings: Any) -> None:
    settings.MEANWHILE_BACKLOG_SOFT = 2
    settings.MEANWHILE_CLEANUP_INTERVAL = 0.05

    def fall_behind() -> None:
        webhooks.create(service=world.game, url="https://game.example.com/", events=["backlog"], position=0)
        for _ in range(3):
            world.publish("device:phone")

    await node.reader.ask(fall_behind)

    await node.attach()
    await node.reader.ask(lambda: until(FallenBehind.objects.exists, "the round looked"))
    await node.detach()

    assert await node.reader.ask(WebhookEvent.objects.count) == 1
