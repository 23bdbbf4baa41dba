"""Whether a database is taken for another history, when its looking at is disturbed. SQLite: a side file beside it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from apps_registry.models import Delivery, Device, MessageType
from messaging.log import journal, lineage, online, presence
from messaging.log.effects import Effects
from messaging.log.journal import Journal
from messaging.log.presence import Arrival
from messaging.models import Lineage
from messaging.protocol.errors import ProtocolError
from tests.conftest import World

pytestmark = [pytest.mark.sqlite, pytest.mark.django_db(transaction=True)]

Execute = Callable[..., Any]


@pytest.fixture
def side_file() -> Path:
    """Of a database that has served."""
    lineage.verify()
    return Path(f"{connection.settings_dict['NAME']}.lineage")


def resets() -> int:
    return Lineage.objects.get().resets


def test_starts_that_fail_one_after_the_other_are_no_other_history(side_file: Path) -> None:
    """The disk is full: the side file is written each time, the database is not."""

    def full(execute: Execute, statement: str, *rest: Any) -> Any:
        if statement.startswith("UPDATE messaging_lineage SET origin"):
            raise OperationalError("database or disk is full")
        return execute(statement, *rest)

    for _ in range(3):
        with connection.execute_wrapper(full), pytest.raises(OperationalError):
            lineage.verify()
    lineage.verify()

    assert resets() == 0


def test_two_that_start_at_once_are_no_other_history(side_file: Path) -> None:
    """The second one waits for the lock that the first one has."""
    first = [threading.Thread(target=_verify)]

    def meanwhile(execute: Execute, statement: str, *rest: Any) -> Any:
        if statement.startswith("BEGIN") and first:
            other = first.pop()
            other.start()
            other.join()
        return execute(statement, *rest)

    with connection.execute_wrapper(meanwhile):
        lineage.verify()

    assert (first, resets()) == ([], 0)
    lineage.verify()
    assert resets() == 0


def _verify() -> None:
    lineage.verify()
    connection.close()


@pytest.fixture
def writer(side_file: Path) -> Any:
    made = Journal(committed=lambda effects, finished: None, limit=10, batch=10)
    made.start()
    yield made
    made.stop()


def look(writer: Journal) -> None:
    writer.call(presence.Lease(0, 0))


def test_a_database_that_is_locked_at_the_start_is_looked_at_when_it_is_free(
    writer: Journal, side_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PATIENCE", 0.05)
    origin = Lineage.objects.get().origin
    somebody = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    somebody.execute("BEGIN IMMEDIATE")
    with pytest.raises(ProtocolError, match="unavailable"):
        look(writer)
    somebody.close()

    look(writer)

    assert writer.verified
    assert Lineage.objects.get().origin != origin


def test_a_side_file_that_cannot_be_read_at_the_start_is_read_when_it_can(writer: Journal, side_file: Path) -> None:
    kept = side_file.rename(side_file.with_suffix(".kept"))
    side_file.mkdir()
    with pytest.raises(ProtocolError, match="unavailable"):
        look(writer)
    before = writer.verified
    side_file.rmdir()
    kept.rename(side_file)

    look(writer)

    assert (before, writer.verified, resets()) == (False, True, 0)


def test_what_a_round_publishes_is_in_the_mark_too(side_file: Path, world: World, phone: Device) -> None:
    """The number on line is a value like any other: an older copy must not pass for current by it."""
    MessageType.objects.create(app=world.app, name="room.online", delivery=Delivery.LATEST)
    with transaction.atomic():
        presence.enter([Arrival(phone.pk, "foreground", 1, "pull", "node")], Effects())

    online.publish_due(Effects())

    stored = Lineage.objects.get().stored
    assert stored > 0
    assert side_file.read_text().split()[-1] == str(stored)
