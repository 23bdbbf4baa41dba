from __future__ import annotations

from apps_registry.models import Device
from messaging.log.answers import Request
from messaging.log.effects import Effects
from messaging.log.journal import Command, Finished, Joining, Journal
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
