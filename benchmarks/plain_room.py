"""A room as the tutorial builds it: each consumer has a channel in a group of the in-memory layer."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402

from benchmarks import bare  # noqa: E402


class Room(AsyncWebsocketConsumer):
    offset = 0

    async def connect(self) -> None:
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()
        await self.send('{"type":"welcome"}')

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard("room", self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        word, _, count = (text_data or "").partition(" ")
        if word == "send":
            for _ in range(int(count)):
                Room.offset += 1
                data = {"what": "rose", "from": "ann", "n": 12345}
                await self.channel_layer.group_send("room", {"type": "gift", "offset": Room.offset, "data": data})

    async def gift(self, event: dict[str, object]) -> None:
        await self.send(f'{{"type":"message","offset":{event["offset"]},"data":{{"what":"rose"}}}}')


if __name__ == "__main__":
    bare.run(Room.as_asgi())
