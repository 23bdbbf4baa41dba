"""A room as the tutorial builds it: each consumer has a channel in a group of the in-memory layer."""

from __future__ import annotations

import os
import socket

import django
import uvicorn

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402


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


def main() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        Room.as_asgi(),
        loop="uvloop",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
