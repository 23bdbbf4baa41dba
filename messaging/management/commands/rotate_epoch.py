"""`manage.py rotate_epoch`: says that the database was restored in place, where nothing shows it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from apps_registry.command import DatabaseCommand
from messaging.log import lineage
from messaging.models import Stream

ABOUT = """{streams} streams get a new epoch. Their devices hear `reset`: they drop their positions and take
everything after the server's cursor, some of it a second time. Running servers notice within the repair interval."""


class Command(DatabaseCommand):
    help = "After a restore in place: gives every stream a new epoch, so that no position of before counts."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="Do it without asking.")

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(ABOUT.format(streams=Stream.objects.count()))
        if not options["yes"] and input("Go on? [y/N] ").strip().lower() not in {"y", "yes"}:
            self.stdout.write("Nothing was changed.")
            return
        with transaction.atomic():
            streams = lineage.rotate()
        self.stdout.write(self.style.SUCCESS(f"{streams} streams have a new epoch."))
