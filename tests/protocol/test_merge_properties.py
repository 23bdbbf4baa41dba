"""P3 for the merge: whatever the network does, the app sees each stream in offset order, each offset at most once per
store, and everything is finally handed over or covered by a gap. And proof that this test can fail."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging.protocol.merge import Merge
from messaging.protocol.merge_effects import Effect, Gap, Hand
from tests.protocol.merge_world import World

T = TypeVar("T")
STEPS = 40


@dataclass
class Drawn:
    """Hypothesis decides, and finds the shortest way to what goes wrong."""

    data: st.DataObject

    def one(self, of: Sequence[T]) -> T:
        return of[self.number(0, len(of) - 1)]

    def number(self, least: int, most: int) -> int:
        return self.data.draw(st.integers(least, most))

    def yes(self) -> bool:
        return self.data.draw(st.booleans())


class Rolled(random.Random):
    """A random number generator decides: a hundred times as fast."""

    def one(self, of: Sequence[T]) -> T:
        return self.choice(of)

    def number(self, least: int, most: int) -> int:
        return self.randint(least, most)

    def yes(self) -> bool:
        return self.random() < 0.5


@pytest.mark.parametrize("pages_are_lost", [True, False])
@given(data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_in_order_once_and_nothing_lost_whatever_the_network_does(pages_are_lost: bool, data: st.DataObject) -> None:
    world = World(Drawn(data), pages_are_lost=pages_are_lost)

    world.walk(data.draw(st.integers(1, STEPS)))


@pytest.mark.parametrize("pages_are_lost", [True, False])
def test_on_long_walks_too(pages_are_lost: bool) -> None:
    for seed in range(1000):
        World(Rolled(seed), pages_are_lost=pages_are_lost).walk(2 * STEPS)


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
    with pytest.raises(AssertionError):
        for seed in range(5000):
            World(Rolled(seed), merge=broken).walk(STEPS)
