"""Walks of the machine without Hypothesis: by a seed, fast and far apart from each other; and the same walk again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tests.faults.machine import STEPS, Machine, Steps

LENGTH = 40
Walk = Callable[[Machine], object]


def by_chance(seed: int) -> Steps:
    """Steps of some kinds only: what is left out makes room for what else may go wrong ("swarm testing")."""
    chance = random.Random(seed)
    kinds = [name for name in STEPS if name != "begin" and chance.random() < 0.6] or ["exchange"]
    names = ["begin", *chance.choices(kinds, k=LENGTH)]
    return [(name, {key: chance.choice(values) for key, values in STEPS[name].items()}) for name in names]


def along(steps: Steps) -> Walk:
    def walk(machine: Machine) -> None:
        for name, arguments in steps:
            getattr(machine, name)(**arguments)

    return walk


def wrong(walk: Walk) -> str:
    """What the model or the auditor has against it; "" if it went well."""
    machine = Machine()
    try:
        try:
            walk(machine)
        finally:
            machine.teardown()
    except AssertionError as error:
        return str(error) or "refused by the model"
    return ""


def shortened(steps: Steps) -> Steps:
    """What of a walk that goes wrong is enough for that: fewer steps, plainer arguments."""
    while shorter := next((one for one in _shorter(steps) if wrong(along(one))), None):
        steps = shorter
    return steps


def _shorter(steps: Steps) -> Iterator[Steps]:
    for size in (16, 8, 4, 2, 1):
        for start in range(len(steps) - size, 0, -1):
            yield steps[:start] + steps[start + size :]
    for place, (name, arguments) in enumerate(steps):
        for key, value in arguments.items():
            plainest = STEPS[name][key][0]
            if value != plainest:
                yield [*steps[:place], (name, arguments | {key: plainest}), *steps[place + 1 :]]


def as_code(steps: Steps) -> str:
    """As it is kept in a test."""
    lines = []
    for name, arguments in steps:
        told = [f"{key}={value!r}" for key, value in arguments.items() if value != STEPS[name][key][0]]
        lines.append(f"m.{name}({', '.join(told)})")
    return ", ".join(lines)
