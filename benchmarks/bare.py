"""The same server as ours, with another application behind it."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn


def run(application: Any) -> None:
    """Prints its address, then serves until it is ended."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        application,
        loop="uvloop",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
    )
    uvicorn.Server(config).run(sockets=[listener])
