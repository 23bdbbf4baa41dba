"""A commit that fails: what is stored is stored once, whatever is known of it."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from apps_registry.models import Device
from messaging.live.node import Node
from messaging.log.answers import Answer, Request
from messaging.models import Message
from messaging.protocol.errors import ProtocolError
from tests.conftest import World

Commit = Callable[[BaseDatabaseWrapper], None]


@pytest.fixture
def break_commit(node: Node, monkeypatch: pytest.MonkeyPatch) -> Callable[[Commit], None]:
    """break_commit(instead): the next commit with a change, and no later one, does this instead."""
    node.journal.call(Request([], []))  # connected: what comes now is the publish's own commit
    whole = BaseDatabaseWrapper._commit

    def arm(instead: Commit) -> None:
        times = iter([instead])
        monkeypatch.setattr(BaseDatabaseWrapper, "_commit", lambda self: next(times, whole)(self))

    return arm


def publish(node: Node, world: World) -> Answer | ProtocolError:
    try:
        answer: Answer = node.journal.call(Request([world.publication("device:phone")], [None]))
    except ProtocolError as error:
        return error
    return answer


def test_a_commit_whose_answer_was_lost_is_not_done_twice(
    node: Node, world: World, phone: Device, break_commit: Callable[[Commit], None]
) -> None:
    whole = BaseDatabaseWrapper._commit

    def lose_the_answer(wrapper: BaseDatabaseWrapper) -> None:
        whole(wrapper)
        raise OperationalError("server closed the connection unexpectedly")

    break_commit(lose_the_answer)
    outcome = publish(node, world)

    assert isinstance(outcome, ProtocolError)
    assert (outcome.code.name, outcome.code.temporary) == ("unavailable", True)
    assert Message.objects.count() == 1


def test_a_transaction_that_the_database_took_back_is_done_again(
    node: Node, world: World, phone: Device, break_commit: Callable[[Commit], None]
) -> None:
    def deadlock(wrapper: BaseDatabaseWrapper) -> None:
        wrapper._rollback()
        raise OperationalError("deadlock detected") from psycopg.errors.DeadlockDetected()

    break_commit(deadlock)
    outcome = publish(node, world)

    assert isinstance(outcome, Answer)
    assert Message.objects.count() == 1
