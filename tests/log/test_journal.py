"""The writer thread: what it writes together, and that nothing ends it but `stop`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps_registry.models import Device
from messaging.log import membership
from messaging.log.answers import Request
from messaging.log.effects import Effects
from messaging.log.journal import Command, Finished, Journal
from messaging.log.presence import Lease
from messaging.log.verbs import Joining, Leaving
from tests.conftest import World


def test_joins_and_publishes_of_one_batch_do_not_lock_streams_in_one_transaction(world: World, phone: Device) -> None:
    """Two processes whose batches did so waited for each other until PostgreSQL found the deadlock."""
    told: list[tuple[Effects, Finished]] = []
    journal = Journal(committed=lambda effects, finished: told.append((effects, finished)), limit=10, batch=10)
    outcomes: list[object] = []
    publish = Request([world.publication("room:arena")], [None])
    join = Joining(world.app.pk, phone.pk, "room:arena")

    journal._commit([Command(publish, outcomes.append, True), Command(join, outcomes.append, True)])

    assert journal.batches == 2
    assert journal.commands == 2
    entry, _ = outcomes
    assert (entry.head, entry.processed) == (0, 0)  # type: ignore[attr-defined]


@pytest.fixture
def writer(transactional_db: None) -> Iterator[Journal]:
    """With a thread of its own, which nobody listens to."""
    made = Journal(committed=lambda effects, finished: None, limit=10, batch=1)
    made.start()
    yield made
    made.stop()


def refuse(outcome: object) -> None:
    raise RuntimeError("the loop is closed")


def test_who_cannot_be_told_stops_nobody_elses_writing(writer: Journal) -> None:
    writer.submit(Lease(0, 0), refuse, direct=True)

    assert writer.call(Lease(0, 0), timeout=5) is None


def test_a_hearer_that_fails_stops_nobody_elses_writing(transactional_db: None) -> None:
    journal = Journal(committed=lambda effects, finished: refuse(finished), limit=10, batch=1)
    journal.start()
    journal.submit(Lease(0, 0), print)

    assert journal.call(Lease(0, 0), timeout=5) is None
    journal.stop()


def test_a_command_that_was_taken_while_the_journal_is_stopped_is_written(writer: Journal) -> None:
    """Whoever was let in before the end is behind it in no queue: the thread would be gone."""
    outcomes: list[object] = []

    class StopsWhenLetGo:
        """The Journal's lock; somebody stops the Journal as soon as it is free."""

        def __init__(self) -> None:
            self.lock, self.stopped = writer._count, False

        def __enter__(self) -> None:
            self.lock.acquire()

        def __exit__(self, *_: object) -> None:
            self.lock.release()
            if not self.stopped:
                self.stopped = True
                writer.stop()

    writer._count = StopsWhenLetGo()  # type: ignore[assignment]
    writer.submit(Lease(0, 0), outcomes.append, direct=True)

    assert outcomes == [None]


def test_who_leaves_a_room_and_joins_it_again_in_one_batch_is_in_it(world: World, phone: Device) -> None:
    journal = Journal(committed=lambda effects, finished: None, limit=10, batch=10)
    leave, join = Leaving(phone.pk, "room:lobby"), Joining(world.app.pk, phone.pk, "room:lobby")

    journal._commit([Command(body, None, True) for body in (leave, join)])
    back = membership.entry_of(phone.pk, "room:lobby")
    journal._commit([Command(body, None, True) for body in (join, leave, join, leave)])

    assert back
    assert membership.entry_of(phone.pk, "room:lobby") is None
