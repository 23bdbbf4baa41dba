"""P3 for the merge: whatever the network does, the app sees each stream in offset order, each offset at most once per
store, and everything is finally handed over or covered by a gap. And proof that this test can fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from messaging.protocol.merge import Merge
from messaging.protocol.merge_effects import Effect, Gap, Hand
from tests.protocol.merge_world import World

WALK = settings(
    max_examples=15000,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
HUNT = settings(WALK, max_examples=1000, derandomize=True, phases=[Phase.generate], report_multiple_bugs=False)


class FaithfulPages(World):
    pages_are_lost = False


def test_in_order_once_and_nothing_lost_whatever_the_network_does() -> None:
    run_state_machine_as_test(World, settings=WALK)


def test_with_faithful_pages_nothing_is_ever_unexplained() -> None:
    run_state_machine_as_test(FaithfulPages, settings=WALK)


class PassesOnDuringThePull(Merge):
    def _waiting(self) -> bool:
        return False


class HandsOverTwice(Merge):
    def message(self, message: Mapping[str, Any]) -> list[Effect]:
        if self.state == "live" and message["offset"] <= self.done:
            return [Hand(message["offset"], "live", message)]
        return super().message(message)


class DoesNotSeeHoles(Merge):
    def message(self, message: Mapping[str, Any]) -> list[Effect]:
        if self.state == "live" and message["offset"] > self.done + 1:
            self.done = message["offset"]
            return [Hand(self.done, "live", message)]
        return super().message(message)


class TakesPagesOfOlderPulls(Merge):
    def page(self, *, pull: int, **about: Any) -> list[Effect]:
        return super().page(pull=self._pull, **about)


class ForgetsWhatOverflowed(Merge):
    def _keep(self, offset: int) -> list[Effect]:
        out = super()._keep(offset)
        self._missed = 0
        return out


class KeepsGapsToItself(Merge):
    def _walk(self, limit: int | None) -> list[Effect]:
        return [effect for effect in super()._walk(limit) if not isinstance(effect, Gap)]


class DoesNotLookAtTheEpoch(Merge):
    def begin(self, *, epoch: str, **about: Any) -> list[Effect]:
        return super().begin(epoch=epoch if self.epoch is None else self.epoch, **about)


class GivesUpAHoleAtOnce(Merge):
    def _walk_to(self, target: int, *, limit: int | None) -> list[Effect]:
        self._suspect = self.done + 1
        return super()._walk_to(target, limit=limit)


class DropsTheBufferAtTheEnd(Merge):
    def _settle(self) -> list[Effect]:
        self._buffer.clear()
        return super()._settle()


class KeepsItsPositionInTheBackground(Merge):
    def away(self, *, done: int | None = None) -> list[Effect]:
        return super().away()


class ForgetsItsPositionWithTheConnection(Merge):
    def away(self, *, done: int | None = None) -> list[Effect]:
        out = super().away(done=done)
        self.done = max(0, self.done - 1)
        return out


BROKEN = [
    PassesOnDuringThePull,
    HandsOverTwice,
    DoesNotSeeHoles,
    TakesPagesOfOlderPulls,
    ForgetsWhatOverflowed,
    KeepsGapsToItself,
    DoesNotLookAtTheEpoch,
    GivesUpAHoleAtOnce,
    DropsTheBufferAtTheEnd,
    KeepsItsPositionInTheBackground,
    ForgetsItsPositionWithTheConnection,
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_merge_is_caught(broken: type[Merge]) -> None:
    world = type("BrokenWorld", (FaithfulPages,), {"merge_class": broken})

    with pytest.raises(AssertionError):
        run_state_machine_as_test(world, settings=HUNT)
