"""A publish request is answered as a whole (`log/answers.py`)."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from apps_registry.models import Device
from messaging.log import retention
from messaging.log.answers import Answer, Request, publish
from messaging.log.effects import Effects
from messaging.models import IdempotentAnswer, Message
from messaging.protocol.errors import ProtocolError
from tests.conftest import World


def answers(*requests: Request) -> list[object]:
    """Of one transaction; a refusal as its code."""
    with transaction.atomic():
        found = publish(requests, Effects())
    return [one.code.name if isinstance(one, ProtocolError) else one for one in found]


def order(world: World, payload: str) -> Request:
    return Request([world.publication("room:kitchen", payload=payload)], [None], world.game.pk, "order-1", payload)


def test_of_several_bodies_under_one_key_the_first_is_answered(world: World) -> None:
    first = '[{"stream":"room:kitchen","offset":1}]'

    together = answers(order(world, "1"), order(world, "2"), order(world, "1"))
    later = answers(order(world, "1"), order(world, "2"))

    assert together == [Answer(first), "idempotency_mismatch", Answer(first, replayed=True)]
    assert later == [Answer(first, replayed=True), "idempotency_mismatch"]
    assert Message.objects.count() == 1


def test_what_was_rolled_back_has_used_no_key_up(world: World) -> None:
    with transaction.atomic():
        publish([order(world, "1")], Effects())
        transaction.set_rollback(True)

    assert answers(order(world, "2")) == [Answer('[{"stream":"room:kitchen","offset":1}]')]


def test_after_a_day_a_key_is_a_new_one(world: World) -> None:
    answers(order(world, "1"))
    day = timedelta(seconds=settings.MEANWHILE_IDEMPOTENCY_KEPT)
    IdempotentAnswer.objects.update(created_at=Now() - day + timedelta(minutes=1))
    retention.clean_all(Effects())
    kept = answers(order(world, "2"))
    IdempotentAnswer.objects.update(created_at=Now() - day)

    retention.clean_all(Effects())

    assert kept == ["idempotency_mismatch"]
    assert answers(order(world, "2")) == [Answer('[{"stream":"room:kitchen","offset":2}]')]


def test_a_list_of_streams_is_answered_stream_by_stream_also_where_one_is_named_twice(
    world: World, phone: Device
) -> None:
    named = ["room:a", "device:phone", "room:a", "device:nobody"]
    publication = world.publication(list(dict.fromkeys(named)))

    (answer,) = answers(Request([publication], [named]))

    assert isinstance(answer, Answer)
    assert answer.items.startswith(
        '[[{"stream":"room:a","offset":1},{"stream":"device:phone","offset":1},{"stream":"room:a","offset":1},{"problem":'
    )
    assert Message.objects.count() == 2
