"""`manage.py setup_demo`: the demo app, an admin login, and the addresses to open. `make run` calls it with --serve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from messaging.demo.content import ADMIN, ROOM, make_admin, make_app
from messaging.management.commands.serve import Command as Serve

ADDRESSES = """

  Test client   http://{address}/
  Live room     http://{address}/live-room/
  Admin         http://{address}/admin/
  API docs      http://{address}/api/docs
"""
NEW_ADMIN = """
  Admin login   {user} / {password}
                shown only now. To set another: {python} manage.py changepassword {user}
"""
OLD_ADMIN = """
  Admin login   {user}, with the password of the first start
                forgotten? {python} manage.py changepassword {user}
"""
NEW_KEY = """
  Key of the demo's game service, shown only now:

    curl http://{address}/api/v1/messages -H 'Content-Type: application/json' \\
      -H 'Authorization: Bearer {key}' \\
      -d '{{"messages": [{{"to": "{room}", "name": "gift", "data": {{"from": "curl"}}}}]}}'
"""
SWITCHED_OFF = """
  MEANWHILE_DEMO is not set: the server will not show the test client. Start it with MEANWHILE_DEMO=1.
"""


class Command(BaseCommand):
    help = "Makes the demo app and an admin login, once; prints the addresses. Run again, it changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("address", nargs="?", default="127.0.0.1:8000", help="HOST:PORT of the server")
        parser.add_argument("--serve", action="store_true", help="Start the server afterwards.")

    def handle(self, *args: Any, **options: Any) -> None:
        address = options["address"]
        if options["serve"]:
            self._check(address)
        call_command("migrate", verbosity=0, interactive=False)
        key = make_app()
        password = make_admin()
        self._tell(address, key, password)
        if options["serve"]:
            call_command("serve", address, stdout=self.stdout)

    def _check(self, address: str) -> None:
        """A port that is taken is said before anything is made or promised."""
        host, _, port = address.rpartition(":")
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise CommandError(f"{address!r} is no HOST:PORT. Say, for example: make run PORT=8001")
        Serve()._listen(host.strip("[]") or "127.0.0.1", int(port)).close()

    def _tell(self, address: str, key: str | None, password: str | None) -> None:
        self.stdout.write(self.style.SUCCESS("\nMeanwhile is set up.") + ADDRESSES.format(address=address), ending="")
        told = NEW_ADMIN if password else OLD_ADMIN
        self.stdout.write(told.format(user=ADMIN, password=password, python=_python()), ending="")
        if key:
            self.stdout.write(NEW_KEY.format(address=address, key=key, room=ROOM), ending="")
        if not settings.MEANWHILE_DEMO:
            self.stdout.write(self.style.WARNING(SWITCHED_OFF), ending="")
        self.stdout.write("")
        self.stdout.flush()


def _python() -> str:
    """The interpreter as one would type it here: `.venv/bin/python`, or its whole path."""
    executable = Path(sys.executable)
    return str(executable.relative_to(Path.cwd()) if executable.is_relative_to(Path.cwd()) else executable)
