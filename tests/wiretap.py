"""Listens in on every WebSocket of the tests, whoever speaks: the actors, the Python client, the apps and services of
the fault tests, Channels' communicator, raw sockets and, through Playwright, the browser. Each frame is held against
docs/reference/asyncapi.yaml; `tests/conftest.py` fails the test in which one did not stand the comparison.
"""

from __future__ import annotations

from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from channels.testing import WebsocketCommunicator
from websockets.asyncio.client import ClientConnection

from tests import asyncapi

_faults: list[str] = []
_seen: set[tuple[str, str]] = set()


def begin() -> None:
    """A new test: nothing has been said."""
    _faults.clear()
    _seen.clear()


def faults() -> list[str]:
    """What the document has against the frames of this test."""
    return list(_faults)


def seen() -> set[tuple[str, str]]:
    """Operation of the document and type of the frames of this test, which it describes."""
    return set(_seen)


def sent(path: str, text: Any) -> None:
    """A client said this."""
    _note(path, text, asyncapi.check_sent)


def received(path: str, text: Any) -> None:
    """The server said this."""
    _note(path, text, asyncapi.check_received)


def _note(path: str, text: Any, check: Any) -> None:
    path = urlsplit(path).path
    if not isinstance(text, str) or path not in asyncapi.OPERATIONS:
        return
    # Not raised: it would be the client's, which may well survive it.
    kind, found = check(path, text)
    _faults.extend(found)
    if kind:
        _seen.add(kind)


def tap() -> None:
    """Once, before the first test."""
    _tap_websockets()
    _tap_channels()


def _tap_websockets() -> None:
    send, recv = ClientConnection.send, ClientConnection.recv

    @wraps(send)
    async def tapped_send(self: ClientConnection, message: Any, *args: Any, **more: Any) -> None:
        if self.request:
            sent(self.request.path, message)
        await send(self, message, *args, **more)

    @wraps(recv)
    async def tapped_recv(self: ClientConnection, *args: Any, **more: Any) -> Any:
        message = await recv(self, *args, **more)
        if self.request:
            received(self.request.path, message)
        return message

    ClientConnection.send = tapped_send  # type: ignore[method-assign]
    ClientConnection.recv = tapped_recv  # type: ignore[method-assign]


def _tap_channels() -> None:
    send_input, receive_output = WebsocketCommunicator.send_input, WebsocketCommunicator.receive_output

    @wraps(send_input)
    async def tapped_input(self: WebsocketCommunicator, message: dict[str, Any]) -> None:
        sent(self.scope["path"], message.get("text"))
        await send_input(self, message)

    @wraps(receive_output)
    async def tapped_output(self: WebsocketCommunicator, timeout: float = 1) -> dict[str, Any]:  # noqa: ASYNC109
        message: dict[str, Any] = await receive_output(self, timeout)
        received(self.scope["path"], message.get("text"))
        return message

    WebsocketCommunicator.send_input = tapped_input
    WebsocketCommunicator.receive_output = tapped_output
