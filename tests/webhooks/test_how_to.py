"""docs/how-to/hear-results.md: its receiver is a whole one."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import httpx
import pytest

from apps_registry.models import Webhook
from messaging.models import DeliveryState, WebhookDelivery
from messaging.webhooks import control
from tests.servers import PLAIN, ROOT, free_port
from tests.waiting import until
from tests.webhooks.conftest import Post

PAGE = (ROOT / "docs/how-to/hear-results.md").read_text()


def receiver_of_the_page() -> str:
    (code,) = [code for code in re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL) if "BaseHTTPRequestHandler" in code]
    return code


def answers(port: int) -> bool:
    try:
        return httpx.post(f"http://127.0.0.1:{port}/", verify=PLAIN).status_code > 0
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("right", [True, False])
def test_the_receiver_of_the_page_takes_what_is_signed_and_nothing_else(post: Post, right: bool) -> None:
    port = free_port()
    webhook = control.create(service=post.world.game, url=f"http://127.0.0.1:{port}/", events=["results"])
    post.results(1)
    secret = webhook.secret if right else Webhook(secret="whsec_" + "x" * 40).secret
    running = subprocess.Popen(
        [sys.executable, "-c", receiver_of_the_page()],
        env={**os.environ, "PORT": str(port), "SECRET": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        until(lambda: answers(port), "the receiver listens")
        post.deliver()
    finally:
        running.kill()
        printed, _ = running.communicate()

    delivery = WebhookDelivery.objects.get()
    assert delivery.last_status == (204 if right else 401)
    assert delivery.state == (DeliveryState.DELIVERED if right else DeliveryState.OPEN)
    assert (f"{delivery.message_id} results" in printed) == right
