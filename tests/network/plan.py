"""What happens to a device and its network, drawn from a seed. Pure: the same seed, the same plan."""

from __future__ import annotations

import random
from dataclasses import dataclass

UP, DOWN, BOTH = "up", "down", "both"
#: Every fault, and the directions it comes in. up: from the device to the server.
KINDS: dict[str, tuple[str, ...]] = {
    "latency": (UP, DOWN, BOTH),  # every chunk is late
    "cut": (BOTH,),  # connections end, new ones are refused
    "black_hole": (UP, DOWN, BOTH),  # bytes vanish and nobody is told; such a connection never recovers
    "reset": (UP, DOWN, BOTH),  # a box in between forgets its connections: one side, or both, hear of it
    "half_close": (UP, DOWN),  # the end of one direction, while the other goes on
    "dribble": (UP, DOWN, BOTH),  # one byte at a time
    "cut_in_body": (UP, DOWN),  # a request or an answer ends in the middle of its body
    "freeze": (UP, DOWN, BOTH),  # nothing moves; then everything does
    "no_sockets": (BOTH,),  # a proxy that lets no WebSocket through
}
#: To the end of the trouble: what is met by few of the things a device does.
LONG = {"no_sockets", "cut_in_body"}
MODES = ("pull", "replay", "hold")


@dataclass(frozen=True, slots=True)
class Fault:
    """Strikes `at` seconds after the beginning, and lasts for so many seconds where it is one that lasts."""

    at: float
    kind: str
    way: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Away:
    """The app is in the background from `at` for so many seconds."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    #: How the device resumes.
    mode: str
    #: When the trouble ends.
    seconds: float
    faults: tuple[Fault, ...]
    absences: tuple[Away, ...]


def plan(seed: int) -> Plan:
    chance = random.Random(seed)
    seconds = chance.uniform(2.0, 4.0)
    kinds = chance.sample(list(KINDS), chance.randrange(3, 7))
    faults = [_fault(chance, kind, seconds) for kind in kinds]
    return Plan(
        seed=seed,
        mode=chance.choice(MODES),
        seconds=seconds,
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        absences=_absences(chance, seconds),
    )


def _fault(chance: random.Random, kind: str, seconds: float) -> Fault:
    # Two sockets must fail before the SDK polls: that takes its time.
    at = chance.uniform(0.0, seconds * (0.2 if kind == "no_sockets" else 0.9))
    lasts = seconds - at if kind in LONG else chance.uniform(0.2, min(1.5, seconds - at))
    return Fault(at, kind, chance.choice(KINDS[kind]), lasts)


def _absences(chance: random.Random, seconds: float) -> tuple[Away, ...]:
    """None, one or two, one after the other; the last may go on beyond the trouble."""
    absences: list[Away] = []
    begin = 0.0
    for _ in range(chance.randrange(3)):
        at = chance.uniform(begin, seconds)
        absences.append(Away(at, chance.uniform(0.1, 1.0)))
        begin = at + absences[-1].seconds + 0.05
        if begin >= seconds:
            break
    return tuple(absences)
