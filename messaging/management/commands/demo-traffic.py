"""`manage.py demo-traffic`: a service that publishes into the demo app at a steady rate, over its socket."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from apps_registry.command import DatabaseCommand
from apps_registry.errors import TooManyKeys
from apps_registry.models import MessageType, Scope, Service
from apps_registry.services import create_key, revoke_key
from messaging.demo.content import APP, ROOM

sys.path.insert(0, str(settings.BASE_DIR / "clients/python"))

from meanwhile_client import MeanwhileError
from meanwhile_client import Service as Client


class Command(DatabaseCommand):
    help = "Publishes demo traffic to a running server: every message type of the app in turn, at a steady rate."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--address", default="http://127.0.0.1:8000", help="The server.")
        parser.add_argument("--app", default=APP, help="The app; a key is made for its first service, and revoked.")
        parser.add_argument("--to", action="append", default=[], help=f"A stream ({ROOM}). Repeat for more.")
        parser.add_argument("--rate", type=float, default=2, help="Messages a second.")
        parser.add_argument("--count", type=int, default=0, help="Stop after so many. 0: until Ctrl-C.")

    def handle(self, *args: Any, **options: Any) -> None:
        service = Service.objects.filter(app__name=options["app"]).order_by("pk").first()
        names = list(MessageType.objects.filter(app__name=options["app"]).values_list("name", flat=True))
        if service is None or not names:
            raise CommandError(
                f"There is no app {options['app']} with a service and message types: setup_demo makes one."
            )
        if not 0 < options["rate"] <= 100_000:
            raise CommandError("--rate is above 0 and at most 100000.")
        try:
            key, text = create_key(service=service, scopes=[Scope.PUBLISH])
        except TooManyKeys as error:
            raise CommandError(f"{service}: {error}") from None
        streams = options["to"] or [ROOM]
        sent = Sent()
        try:
            asyncio.run(self._traffic(text, names, streams, options, sent))
        except* KeyboardInterrupt:
            pass
        except* MeanwhileError as errors:
            raise CommandError(f"{options['address']}: {first(errors)}") from None
        finally:
            revoke_key(key=key)
            self.stdout.write(f"{sent.answered} messages published.")

    async def _traffic(
        self, key: str, names: list[str], streams: list[str], options: dict[str, Any], sent: Sent
    ) -> None:
        """Says that Ctrl-C ends it once the loop can be ended: a half-made one leaves a traceback."""
        self.stdout.write(f"{options['rate']:g} messages a second to {', '.join(streams)}. Ctrl-C ends it.")
        self.stdout.flush()
        await traffic(key, names, streams, options, sent)


@dataclass
class Sent:
    #: Messages that are on disk.
    answered: int = 0


def first(errors: BaseExceptionGroup[Any]) -> BaseException:
    """Of several that failed for one reason."""
    error: Any = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def traffic(key: str, names: list[str], streams: list[str], options: dict[str, Any], sent: Sent) -> None:
    """Publishes at the rate, whatever the answers take."""
    numbers = range(options["count"]) if options["count"] else itertools.count()
    begin = time.monotonic()

    async def publish(service: Client, number: int) -> None:
        data = {"n": number, "from": "demo-traffic", "degrees": random.randrange(-10, 35)}  # noqa: S311 - weather
        await service.publish(streams[number % len(streams)], names[number % len(names)], data)
        sent.answered += 1

    async with Client(options["address"], key) as service, asyncio.TaskGroup() as under_way:
        for number in numbers:
            await asyncio.sleep(max(begin + number / options["rate"] - time.monotonic(), 0))
            under_way.create_task(publish(service, number))
