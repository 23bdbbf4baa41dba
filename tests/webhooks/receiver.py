"""A service's back end that hears webhooks: a real HTTP server on a port of its own, which answers as the test says."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from standardwebhooks import Webhook

Answering = Callable[[BaseHTTPRequestHandler], None]


class Heard(NamedTuple):
    """One POST as it came."""

    path: str
    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.body)
        return said

    def verified(self, secret: str) -> dict[str, Any]:
        """The event, if the signature is this secret's; raises WebhookVerificationError."""
        said: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return said


class Receiver(ThreadingHTTPServer):
    """`answers`: what the next POSTs get, in order; then 204."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int | Answering] = []
        #: Decides instead of `answers` where it is set.
        self.decide: Callable[[Heard], int | Answering] | None = None
        self.heard: list[Heard] = []
        #: What hangs, hangs until this is set.
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def take(self, heard: Heard) -> int | Answering:
        with self._lock:
            self.heard.append(heard)
            if self.decide is None:
                return self.answers.pop(0) if self.answers else 204
        return self.decide(heard)

    def close(self) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Workers are killed and time out here: nothing to be said of it."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.take(Heard(self.path, headers, body))
        if callable(answer):
            answer(self)
        else:
            respond(answer)(self)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def respond(status: int, **headers: str) -> Answering:
    """A status, and headers with _ for -."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def hang(handler: Any) -> None:
    """Nothing is said until the test is over."""
    handler.server.over.wait(60)


def reset(handler: BaseHTTPRequestHandler) -> None:
    """The connection is torn down."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def nonsense(handler: BaseHTTPRequestHandler) -> None:
    """No HTTP, and a secret in it."""
    handler.wfile.write(b"hunter2 is no status line\r\n\r\n")
    handler.close_connection = True


def drip(handler: Any) -> None:
    """A byte now and then, for ever: never silent for long, never through."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.server.over.wait(0.05):
        handler.wfile.write(b"X-More: 1\r\n")
        handler.wfile.flush()
