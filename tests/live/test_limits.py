"""Token buckets and connections: exact in one process, and over several where Redis is there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from uuid import uuid4

import pytest
from django.conf import settings

from messaging.live.connections import Connections
from messaging.live.limits import Limits, Rule
from messaging.live.shared import Shared
from messaging.protocol.errors import ProtocolError

_app_ids = count(uuid4().int % 10**12)


@pytest.fixture(params=["alone", pytest.param("redis", marks=pytest.mark.redis)])
def shared(request: pytest.FixtureRequest) -> Iterator[Shared]:
    """What processes share; each test's processes are objects of their own."""
    made = Shared(settings.REDIS_URL if request.param == "redis" else "", lambda: "here")
    yield made
    made.close()


def some_rule(rate: int) -> Rule:
    return Rule("publish", rate, f"rate:test:{uuid4().hex}")


def test_a_second_s_worth_passes_at_once_and_no_more(shared: Shared) -> None:
    limits, rule = Limits(shared), some_rule(3)

    verdicts = [limits.spend(rule) for _ in range(4)]

    assert [verdict.wait == 0 for verdict in verdicts] == [True, True, True, False]
    assert 0 < verdicts[3].wait <= 1 / 3
    assert [verdict.remaining for verdict in verdicts[:3]] == [2, 1, 0]


def test_more_than_a_second_s_worth_passes_when_nothing_else_did_and_is_owed(shared: Shared) -> None:
    limits, rule = Limits(shared), some_rule(10)

    first, second = limits.spend(rule, 30), limits.spend(rule, 1)

    assert first.wait == 0
    assert 1.9 < second.wait <= 2.1


def test_a_refusal_says_when_and_in_the_words_of_the_draft(shared: Shared) -> None:
    limits, rule = Limits(shared), some_rule(1)
    limits.spend(rule)

    verdict = limits.spend(rule)

    with pytest.raises(ProtocolError) as refused:
        verdict.check()
    assert refused.value.code.name == "rate_limited"
    assert 0 < refused.value.extra["retry_after_ms"] <= 1000
    assert (verdict.policy(), verdict.state()) == ('"publish";q=1;w=1', '"publish";r=0;t=1')


@pytest.mark.redis
def test_processes_spend_from_one_bucket_and_never_more() -> None:
    rule = some_rule(1000)
    processes = [Shared(settings.REDIS_URL, lambda: "here") for _ in range(4)]
    asked = [Limits(process) for process in processes] * 500

    begin = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        passed = sum(verdict.wait == 0 for verdict in pool.map(lambda limits: limits.spend(rule), asked))
    seconds = time.monotonic() - begin

    # What comes back in the time it takes counts as well.
    assert 900 <= passed <= 1001 + 1000 * seconds
    last = [limits.spend(rule, 1000) for limits in asked[:4]]
    assert all(verdict.wait for verdict in last)


@pytest.mark.redis
def test_two_installations_on_one_redis_do_not_count_together() -> None:
    app = next(_app_ids)
    one, other = (Connections(Shared(settings.REDIS_URL, lambda name=name: name), name, 1) for name in ("one", "other"))

    entered = [connections.enter(app) and connections.permit(app) for connections in (one, other)]

    assert entered == [True, True]


def test_redis_away_leaves_each_process_its_own_count() -> None:
    shared = Shared("redis://127.0.0.1:1/0", lambda: "here")
    limits, rule = Limits(shared), some_rule(2)

    waits = [limits.spend(rule).wait for _ in range(3)]

    assert [wait == 0 for wait in waits] == [True, True, False]
    assert not shared.there
    shared.close()


def test_an_app_has_so_many_connections_and_no_more(shared: Shared) -> None:
    connections, app = Connections(shared, "node-1", 2), next(_app_ids)

    entered = [connections.enter(app) for _ in range(3)]
    connections.leave(app)

    assert entered == [True, True, False]
    assert connections.enter(app)


@pytest.mark.redis
def test_processes_share_an_app_s_connections() -> None:
    shared = Shared(settings.REDIS_URL, lambda: "here")
    app = next(_app_ids)
    one, other = Connections(shared, "node-1", 2), Connections(shared, "node-2", 2)
    for connections in (one, other):
        assert connections.enter(app)
        assert connections.permit(app)

    one.enter(app)
    refused = one.permit(app)
    one.leave(app)
    other.leave(app)
    other.settle()
    one.enter(app)

    assert not refused
    assert one.permit(app)
    shared.close()
