"""Runs the server: uvicorn with uvloop, measured at two to three times daphne's speed and with back-pressure."""

from __future__ import annotations

import gc
import socket
import sys
from argparse import ArgumentParser
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import CommandError

from apps_registry.command import DatabaseCommand
from messaging.live import node

#: Seconds a thread may keep the interpreter while another wants it. The default (5 ms) is what a commit waits for the
#: loop at every statement, and the loop for the writer.
SWITCH = 0.0005
#: When the garbage collector looks for cycles. At the default (700) it looked through the messages under way again and
#: again: a fifth of a publish.
COLLECT = (50_000, 20, 50)


class Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Says when to come back before uvicorn closes the sockets with a bare 1012."""
        node.current().goodbye()
        await super().shutdown(sockets)


class Command(DatabaseCommand):
    help = "Runs the server on HOST:PORT, by default 127.0.0.1:8000."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address", nargs="?", default="127.0.0.1:8000", help="HOST:PORT, or PORT")

    def handle(self, *args: Any, **options: Any) -> None:
        host, _, port = options["address"].rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        if not port.isdigit() or not 0 <= int(port) < 65536:
            raise CommandError(f"{options['address']!r} is no HOST:PORT.")
        listener = self._listen(host, int(port))
        sys.setswitchinterval(SWITCH)
        self._collect_seldom()
        config = uvicorn.Config(
            "config.asgi:application",
            loop="uvloop",
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=max(4 * settings.MEANWHILE_MAX_FRAME, 1024 * 1024),
            ws_per_message_deflate=False,
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=10,
            backlog=4096,
        )
        self.stdout.write(f"Listening on http://{host}:{listener.getsockname()[1]}")
        self.stdout.flush()
        Server(config).run(sockets=[listener])

    def _collect_seldom(self) -> None:
        """What was loaded at the start is never garbage; messages under way are no cycles, and many."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT)

    def _listen(self, host: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(4096)
        except OSError as error:
            listener.close()
            raise CommandError(
                f"Cannot listen on {host}:{port} ({error.strerror}). Choose another port: manage.py serve {host}:PORT"
                " (make run PORT=8001)."
            ) from None
        return listener
