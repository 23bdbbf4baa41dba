from __future__ import annotations

import pytest
from django.test import Client

from messaging.demo.content import make_app
from messaging.live.node import Node


@pytest.fixture(autouse=True)
def demo_flag(settings) -> None:
    settings.MEANWHILE_DEMO = True


@pytest.fixture
def demo(node: Node) -> None:
    """The demo app, and a node that its publishes go through."""
    make_app()


@pytest.fixture
def browser() -> Client:
    """As the page does it: asks for `/`, keeps the cookie, sends it as a header."""
    client = Client(enforce_csrf_checks=True)
    client.get("/")
    client.defaults["HTTP_X_CSRFTOKEN"] = client.cookies["csrftoken"].value
    return client
