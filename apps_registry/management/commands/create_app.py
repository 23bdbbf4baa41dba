"""`manage.py create_app NAME`: an app with its message types, and a service with a key of all scopes."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from apps_registry.command import DatabaseCommand
from apps_registry.services import NewApp, create_app

FRIENDLY = """\
App {app} is ready. Its service {service} has this key; it is shown only now, so keep it:

    {key}

Register a device (the answer has its token):

    curl -X POST http://localhost:8000/api/v1/devices \\
      -H 'Authorization: Bearer {key}' \\
      -H 'Content-Type: application/json' \\
      -d '{{"device": "phone-1", "user": "u1"}}'
"""
PUBLISH = """
Publish to it:

    curl -X POST http://localhost:8000/api/v1/messages \\
      -H 'Authorization: Bearer {key}' \\
      -H 'Content-Type: application/json' \\
      -d '{{"messages": [{{"to": "device:phone-1", "name": "{type}", {more}"data": {{"hello": "world"}}}}]}}'
"""
NO_TYPES = """
It has no message types yet: add some in the admin before you publish.
"""


class Command(DatabaseCommand):
    help = "Create an app with its message types, and a service with an API key of all scopes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="Letters, digits and _ . ~ @ + -")
        parser.add_argument(
            "--type",
            dest="types",
            metavar="NAME=DELIVERY",
            action="append",
            default=[],
            help="A message type: turn=every, weather=latest, chat=transient. Repeat for more.",
        )
        parser.add_argument("--service", default="backend", help="Name of the service that gets the key.")
        parser.add_argument("--json", action="store_true", help='One line for scripts: {"app", "service", "key"}.')

    def handle(self, *args: Any, **options: Any) -> None:
        types = read_types(options["types"])
        try:
            new = create_app(name=options["name"], types=types, service=options["service"])
        except ValidationError as error:
            raise CommandError(_words(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps({"app": new.app.name, "service": new.service.name, "key": new.key}))
        else:
            self.stdout.write(friendly(new, types))


def read_types(arguments: list[str]) -> dict[str, str]:
    """{name: delivery} of NAME=DELIVERY arguments."""
    types: dict[str, str] = {}
    for argument in arguments:
        name, separator, delivery = argument.partition("=")
        if not (name and separator and delivery):
            raise CommandError(f"--type {argument}: say NAME=DELIVERY, for example turn=every.")
        if name in types:
            raise CommandError(f"--type {name} is given twice.")
        types[name] = delivery
    return types


def friendly(new: NewApp, types: dict[str, str]) -> str:
    names = {"app": new.app.name, "service": new.service.name, "key": new.key}
    if not types:
        return FRIENDLY.format(**names) + NO_TYPES
    type_name, delivery = next(iter(types.items()))
    more = '"key": "k1", ' if delivery == "latest" else ""
    return FRIENDLY.format(**names) + PUBLISH.format(key=new.key, type=type_name, more=more)


def _words(error: ValidationError) -> str:
    return " ".join(f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items())
