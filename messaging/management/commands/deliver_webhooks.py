"""`manage.py deliver_webhooks`: the worker that posts to webhooks. Any number of it, beside any number of servers."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps_registry.command import DatabaseCommand
from messaging.webhooks.worker import Worker


class Command(DatabaseCommand):
    help = "Delivers to webhooks until it gets SIGTERM or Ctrl-C; then ends after the attempts under way."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="Deliver what is due now, then end.")
        parser.add_argument("--concurrency", type=int, default=32, help="POSTs at once (32); one per webhook.")
        parser.add_argument("--interval", type=float, default=1, help="Seconds between two looks (1).")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["concurrency"] <= 1000 or not 0.05 <= options["interval"] <= 60:
            raise CommandError("--concurrency is 1 to 1000, --interval 0.05 to 60.")
        worker = asyncio.run(self._run(options))
        if options["once"]:
            self.stdout.write(f"Delivered: {worker.delivered}, failed attempts: {worker.failed}.")

    async def _run(self, options: dict[str, Any]) -> Worker:
        worker = Worker(concurrency=options["concurrency"], interval=options["interval"])
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, worker.stop)
        await worker.run(once=options["once"])
        return worker
