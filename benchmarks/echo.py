"""The bare limit: a WebSocket echo on the same server, with nothing behind it."""

from __future__ import annotations

from typing import Any

from benchmarks import bare


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


if __name__ == "__main__":
    bare.run(application)
