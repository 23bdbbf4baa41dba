"""A WebSocket client that costs next to nothing, so that a benchmark measures the server: counts, acknowledges, no JSON."""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Callable

_LAST_OFFSET = re.compile(rb'"offset":(\d+)')


def frame(text: bytes) -> bytes:
    """A client's text frame; a mask of zeros leaves the payload as it is."""
    size = len(text)
    if size < 126:
        return struct.pack("!BB4x", 0x81, 0x80 | size) + text
    return struct.pack("!BBH4x", 0x81, 0x80 | 126, size) + text


class LeanSocket(asyncio.Protocol):
    """Says hello, then counts the messages of one stream and acknowledges every frame that has some."""

    def __init__(self, path: str, hello: bytes, stream: bytes, heard: Callable[[LeanSocket], None]) -> None:
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        self._hello = hello
        self._stream = stream
        self._heard = heard
        self._buffer = b""
        self._open = False
        self.welcomed = False
        self.messages = 0
        self.last = 0
        self.disordered = 0
        self.other: list[bytes] = []
        self.over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            assert b" 101 " in head, head
            self._open, self._buffer = True, rest
            self.transport.write(frame(self._hello))
        self._frames()

    def _frames(self) -> None:
        buffer, place = self._buffer, 0
        while len(buffer) - place >= 2:
            size, start = buffer[place + 1] & 127, place + 2
            if size == 126:
                if len(buffer) < start + 2:
                    break
                size, start = int.from_bytes(buffer[start : start + 2], "big"), start + 2
            elif size == 127:
                if len(buffer) < start + 8:
                    break
                size, start = int.from_bytes(buffer[start : start + 8], "big"), start + 8
            if len(buffer) < start + size:
                break
            self._take(buffer[place] & 15, buffer[start : start + size])
            place = start + size
        self._buffer = buffer[place:]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == 9:
            self.transport.write(struct.pack("!BB4x", 0x8A, 0x80 | len(payload)) + payload)
            return
        if opcode != 1:
            return
        count = payload.count(b'"offset":')
        if count and payload.startswith(b'{"type":"message'):
            offsets = [int(found) for found in _LAST_OFFSET.findall(payload)]
            self.disordered += offsets != list(range(self.last + 1, self.last + 1 + count))
            self.last = offsets[-1]
            self.messages += count
            self.transport.write(frame(b'{"type":"ack","stream":"%b","upto":%d}' % (self._stream, self.last)))
        elif payload.startswith(b'{"type":"welcome"'):
            self.welcomed = True
        else:
            self.other.append(payload)
        self._heard(self)
