"""HTTPS: the worker connects to an address it looked at, and still asks for the certificate of the name."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from messaging.models import WebhookDelivery
from messaging.webhooks import control
from tests.webhooks.conftest import Post
from tests.webhooks.receiver import Receiver

NAME = "game.example.com"

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")


@pytest.fixture
def certified(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """The receiver with a certificate for NAME, whose issuer this machine trusts; every name leads to it."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    about = ["-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    subprocess.run([*made, *about, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    resolve = socket.getaddrinfo

    def here(host: Any, *arguments: Any, **more: Any) -> Any:
        return resolve("127.0.0.1", *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    return receiver


def deliver_to(post: Post, receiver: Receiver, host: str) -> WebhookDelivery:
    url = f"https://{host}:{receiver.server_address[1]}/hook"
    control.create(service=post.world.game, url=url, events=["results"])
    post.results(1)
    post.deliver()
    return WebhookDelivery.objects.get()


def test_the_certificate_of_the_name_is_taken(post: Post, certified: Receiver) -> None:
    delivery = deliver_to(post, certified, NAME)

    assert (delivery.state, delivery.last_error) == ("delivered", "")
    assert certified.heard[0].headers["host"].startswith(NAME)


def test_a_certificate_of_another_name_is_not(post: Post, certified: Receiver) -> None:
    delivery = deliver_to(post, certified, "other.example.com")

    assert delivery.state == "open"
    assert "Hostname mismatch" in delivery.last_error
    assert certified.heard == []


def test_nor_is_one_of_an_issuer_that_nobody_knows(
    post: Post, certified: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")

    delivery = deliver_to(post, certified, NAME)

    assert "CERTIFICATE_VERIFY_FAILED" in delivery.last_error
    assert certified.heard == []
