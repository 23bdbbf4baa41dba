"""A WebSocket client that may do what no library lets one do: not read, lie about lengths, send what is no frame."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
from typing import Any

from tests import wiretap

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
DEADLINE = 15.0


def frame(
    payload: bytes, *, opcode: int = TEXT, fin: bool = True, masked: bool = True, says: int | None = None
) -> bytes:
    """A frame as bytes. says: the length it claims to have."""
    length = len(payload) if says is None else says
    mask = os.urandom(4) if masked else b""
    flag = 0x80 if masked else 0
    if length < 126:
        head = struct.pack("!BB", (fin << 7) | opcode, flag | length)
    elif length < 2**16:
        head = struct.pack("!BBH", (fin << 7) | opcode, flag | 126, length)
    else:
        head = struct.pack("!BBQ", (fin << 7) | opcode, flag | 127, length)
    body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload)) if masked else payload
    return head + mask + body


class RawClient:
    """A connection whose bytes are in the caller's hands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> None:
        self._path = path
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, path: str = "/ws/device", *, buffer: int = 0) -> RawClient:
        """After the handshake. buffer: bytes the kernel may take in for us."""
        plain = socket.socket()
        if buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=plain, limit=2**20)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: meanwhile.v1.json\r\n\r\n".encode()
        )
        async with asyncio.timeout(DEADLINE):
            answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in answer.split(b"\r\n")[0], answer
        return cls(reader, writer, path)

    def say(self, type: str, **members: Any) -> None:
        text = json.dumps({"type": type, **members})
        wiretap.sent(self._path, text)
        self.writer.write(frame(text.encode()))

    def stop_reading(self) -> None:
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def resume_reading(self) -> None:
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def receive(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload."""
        async with asyncio.timeout(DEADLINE):
            first, second = await self.reader.readexactly(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            opcode, payload = first & 0x0F, await self.reader.readexactly(length)
        if opcode == TEXT:
            wiretap.received(self._path, payload.decode())
        return opcode, payload

    async def until(self, type: str) -> dict[str, Any]:
        """The next JSON frame of this type; what comes before is dropped. ConnectionError when the server closes."""
        while True:
            opcode, payload = await self.receive()
            if opcode == CLOSE:
                assert payload[:2] != struct.pack("!H", 1011), payload
                raise ConnectionError(payload)
            if opcode == TEXT:
                found: dict[str, Any] = json.loads(payload)
                if found["type"] == type:
                    return found

    async def ending(self) -> int | None:
        """The close code; None when the connection ended without one."""
        try:
            while True:
                opcode, payload = await self.receive()
                if opcode == CLOSE:
                    return struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else None
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def abort(self) -> None:
        self.writer.transport.abort()
