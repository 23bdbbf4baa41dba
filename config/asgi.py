"""The application: HTTP through Django in one hop, WebSockets through Channels, an end that drains."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402

if settings.ENVIRONMENT_PROBLEMS:
    # Servers that load this file directly run no system checks (meanwhile.E001).
    raise ImproperlyConfigured(
        "; ".join(f"{one.name}={one.value!r} makes no sense. {one.hint}" for one in settings.ENVIRONMENT_PROBLEMS)
    )

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from config.http import OneHopHandler  # noqa: E402
from messaging.consumers.routing import websocket_urlpatterns  # noqa: E402
from messaging.live import node  # noqa: E402


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await node.current().attach()
    await node.current().verified()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await node.current().drain()
    await send({"type": "lifespan.shutdown.complete"})


def drain_under_daphne() -> None:
    """Daphne knows no lifespan: its reactor says when the process goes. Under other servers that never runs."""
    reactor = sys.modules.get("twisted.internet.reactor")
    if reactor is None:
        return
    from twisted.internet.defer import Deferred

    def going() -> Any:
        here = node.running()
        return Deferred.fromFuture(asyncio.ensure_future(here.drain())) if here and here.loop else None

    reactor.addSystemEventTrigger("before", "shutdown", going)


async def unknown_socket(scope: Any, receive: Any, send: Any) -> None:
    """A WebSocket to an address where there is none: refused, not a traceback."""
    await send({"type": "websocket.close", "code": 4507})


router = URLRouter(websocket_urlpatterns)


async def sockets(scope: Any, receive: Any, send: Any) -> None:
    known = scope["path"] in {"/ws/device", "/ws/service"}
    await (router if known else unknown_socket)(scope, receive, send)


drain_under_daphne()
application = ProtocolTypeRouter({"http": OneHopHandler(), "websocket": sockets, "lifespan": lifespan})
