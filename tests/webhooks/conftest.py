"""The game service with a receiver, and workers: in this process, or as processes of their own on the same database."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection, transaction

from apps_registry.models import Device, Service, Webhook
from messaging.log import sql
from messaging.log.cursors import write_results
from messaging.log.effects import Effects
from messaging.models import Stream, WebhookDelivery
from messaging.protocol.rules import Segment
from messaging.webhooks import control
from messaging.webhooks.worker import Worker
from tests.conftest import World
from tests.webhooks.receiver import Receiver

ROOT = Path(__file__).resolve().parent.parent.parent
FAR = timedelta(days=30)


@pytest.fixture(autouse=True)
def _on_disk(transactional_db: None) -> None:
    """Workers have connections of their own: what tests write must be committed."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@dataclass
class Post:
    """The post office: webhooks, what is to be told, workers, and time that passes at once."""

    world: World
    phone: Device
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def webhook(self, receiver: Receiver, *events: str, service: Service | None = None, path: str = "") -> Webhook:
        return control.create(service=service or self.world.game, url=receiver.url + path, events=events or ["results"])

    def results(self, count: int, *, service: Service | None = None, value: str | None = None) -> None:
        """So many results of the phone, in one transaction."""
        stream = Stream.objects.get(name="device:phone", app=self.world.app)
        by = service or self.world.game
        with transaction.atomic():
            rows = [(by.pk, self.phone.pk, stream.pk, Segment(n, n, value=value)) for n in range(1, count + 1)]
            write_results(rows, Effects())

    def deliver(self) -> Worker:
        """A worker until nothing is due any more."""
        worker = Worker(concurrency=8, interval=0.05)
        asyncio.run(worker.run(once=True))
        return worker

    def later(self) -> None:
        """All that waits for its next attempt, or for a worker that is gone, is due."""
        WebhookDelivery.objects.filter(next_attempt_at__lt=sql.now() + FAR).update(next_attempt_at=sql.now())

    def process(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """A worker as a process of its own."""
        made = subprocess.Popen(
            [sys.executable, "manage.py", "deliver_webhooks", "--interval", "0.05", *arguments],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url(), "LOG_LEVEL": "WARNING", **environment},
        )
        self.processes.append(made)
        return made

    def dispose(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(20)


def database_url() -> str:
    """Of the test's database."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


@pytest.fixture
def post(world: World, phone: Device) -> Iterator[Post]:
    made = Post(world, phone)
    yield made
    made.dispose()


@pytest.fixture
def patient(settings: Any) -> Callable[[float], None]:
    """Sets how long a receiver has to answer."""

    def wait(seconds: float) -> None:
        settings.MEANWHILE_WEBHOOK_TIMEOUT = seconds

    return wait
