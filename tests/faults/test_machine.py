"""Any order of everything, against the real code: and rules that are broken on purpose, each of which must show.

WALKS=2000 SEED=7 pytest tests/faults/test_machine.py: more walks, and the same again. Without, always the same few.
"""

from __future__ import annotations

import logging
import os
import random
import re

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults import walks
from tests.faults.machine import Machine
from tests.faults.mutations import FIVE, MUTATIONS
from tests.faults.stage import STREAMS, People

LONG = "WALKS" in os.environ
WALKS = int(os.environ.get("WALKS", "100"))
SEED = int(os.environ.get("SEED", random.randrange(10**6) if LONG else 0))
#: By chance alone most broken rules show within a hundred walks, the hardest after some thousands.
HUNT = 10_000

#: Walks in which the product, or the model, once went wrong.
ONCE_WRONG: dict[str, walks.Walk] = {
    "a newer value was acknowledged before an older one was sent": lambda m: (
        *(m.begin(), m.exchange(), m.exchange()),
        *(m.publish_value(key="oslo", elsewhere=True), m.publish_value(), m.exchange()),
    ),
    "the wake-up of a value came after the device, which had been told of a newer one": lambda m: (
        *(m.begin(), m.publish_value(stream="room:lobby", elsewhere=True)),
        *(m.publish_value(stream="room:lobby", elsewhere=True), m.connect(), m.wake_up()),
    ),
    "results came before their messages were sent again": lambda m: (
        *(m.begin(modes=("pull", "replay")), m.publish(streams=FIVE, elsewhere=True)),
        *(m.expire(stream="room:lobby", count=3), m.repair(), m.publish(streams=FIVE)),
        *(m.publish(streams=STREAMS), m.restart(arrived=True)),
    ),
    "an app handles what it has of a history that is lost": lambda m: (
        *(m.begin(), m.back_up(), m.publish(), m.restart(arrived=True), m.put_back(), m.handle()),
    ),
    "and what nobody had confirmed": lambda m: (
        *(m.begin(), m.back_up(), m.publish(crash="publish.after_push", arrived=True)),
        *(m.put_back(), m.exchange(), m.give_up()),
    ),
    "a failure is forgotten with the database": lambda m: (
        *(m.begin(), m.publish(streams=("device:phone", "user:ann")), m.publish(), m.publish(streams=STREAMS)),
        *(m.connect(), m.back_up(), m.exchange(), m.receive(count=2), m.put_back()),
    ),
    "a purge is undone with the database": lambda m: (
        *(m.begin(), m.back_up(), m.put_back(grown=True), m.back_up(), m.purge(stream="device:tablet")),
        *(m.connect(which=1), m.exchange(which=1), m.put_back()),
    ),
    "a type goes on while an app that had stopped there is gone": lambda m: (
        *(m.begin(), m.publish_special(stream="room:lobby"), m.receive(which=1, count=6), m.handle(which=1)),
        *(m.report(which=1), m.decree(), m.send(which=1), m.kill(which=1)),
    ),
    "a reset, and then another": lambda m: (
        *(m.begin(), m.back_up(), m.put_back(grown=True), m.connect(), m.receive()),
        *(m.back_up(), m.publish_value(), m.put_back(), m.connect()),
    ),
}


@pytest.fixture(autouse=True)
def people(db: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.CRITICAL, "meanwhile")
    monkeypatch.setattr(Machine, "people", People(), raising=False)


@pytest.mark.timeout(60 + 2 * WALKS)
def test_whatever_happens_in_whatever_order_every_promise_holds() -> None:
    print(f"SEED={SEED}")  # noqa: T201
    walk = settings(
        max_examples=WALKS,
        stateful_step_count=walks.LENGTH,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(seed(SEED)(Machine), settings=walk)  # type: ignore[no-untyped-call]


@pytest.mark.timeout(60 + 4 * WALKS)
def test_every_promise_holds_on_walks_by_chance() -> None:
    for number in range(SEED, SEED + 2 * WALKS):
        found = walks.wrong(walks.along(walks.by_chance(number)))
        if found:
            short = walks.shortened(walks.by_chance(number))
            pytest.fail(f"SEED={number}: {walks.as_code(short)}\n{walks.wrong(walks.along(short))}")


@pytest.mark.parametrize("name", ONCE_WRONG)
def test_a_walk_that_once_went_wrong_goes_well(name: str) -> None:
    assert walks.wrong(ONCE_WRONG[name]) == ""


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_rule_shows_on_a_walk_that_else_goes_well(name: str) -> None:
    mutation = MUTATIONS[name]
    with pytest.MonkeyPatch.context() as patch:
        mutation.break_it(patch)
        broken = walks.wrong(mutation.walk)

    assert re.search(rf"\b{mutation.said}\b", broken)
    assert walks.wrong(mutation.walk) == ""


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_rule_shows_by_chance(name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        MUTATIONS[name].break_it(patch)
        found = next((number for number in range(HUNT) if walks.wrong(walks.along(walks.by_chance(number)))), None)

    print(f"{name} shows on walk {found}")  # noqa: T201
    assert found is not None
    assert walks.wrong(walks.along(walks.by_chance(found))) == ""
