"""Retention as a command, for cron or for a server that runs with MEANWHILE_CLEANUP_INTERVAL=0."""

from __future__ import annotations

from typing import Any

from apps_registry.command import DatabaseCommand
from messaging.live import node
from messaging.log import backlog, retention
from messaging.log.effects import Effects


class Command(DatabaseCommand):
    help = "Removes what every subscriber has processed (after the grace), what has expired, and what is too much."

    def handle(self, *args: Any, **options: Any) -> None:
        effects = Effects()
        removed = retention.clean_all(effects)
        node.announce(effects)
        backlog.watch()
        self.stdout.write(
            f"Removed: {removed.processed} processed by all, {removed.expired} expired, {removed.overflow} of overflow."
        )
