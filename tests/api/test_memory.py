"""What is left of a request when it is answered: bodies would pile up until the garbage collector comes round."""

from __future__ import annotations

import gc

import pytest
from django.http import HttpRequest, HttpResponseBase
from rest_framework.request import Request
from rest_framework.views import APIView

from apps_registry.models import Device
from config.http import OneHopHandler
from messaging.live.node import Node
from tests.api.callers import Caller, device_caller, service_caller
from tests.conftest import World

PUBLISHED = b'{"messages": [{"to": "device:phone", "name": "turn", "data": 1}]}'


@pytest.mark.parametrize(
    ("status", "who", "method", "path", "body"),
    [
        (200, "phone", "GET", "/api/v1/pending", b""),
        (200, "game", "POST", "/api/v1/messages", PUBLISHED),
        (200, "game", "GET", "/api/v1/devices", b""),
        (400, "game", "POST", "/api/v1/messages", b'{"messages": [}'),
        (401, "nobody", "POST", "/api/v1/messages", PUBLISHED),
        (404, "game", "GET", "/api/v1/devices/nobody", b""),
    ],
)
def test_nothing_is_left_of_a_request(
    node: Node, world: World, phone: Device, status: int, who: str, method: str, path: str, body: bytes
) -> None:
    caller = {"phone": device_caller(phone), "game": service_caller(world.game), "nobody": Caller("x")}[who]
    key = caller.headers["Authorization"].encode()
    headers = [(b"host", b"localhost"), (b"authorization", key), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
    handler = OneHopHandler()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        answer = handler._respond(scope, body)

        gc.collect()
        left = [type(one) for one in gc.garbage if isinstance(one, HttpRequest | HttpResponseBase | Request | APIView)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert (answer.status, left) == (status, [])
