"""kill -9, at named places and at random moments: lost 0, handed over twice 0, out of order 0, phantoms 0.

KILLS=200 SEED=7 pytest tests/faults/test_kill.py: more of them, and the same again.
"""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from messaging.failpoints import NAMES
from tests.faults.auditor import Violation
from tests.faults.installation import Installation

KILLS = int(os.environ.get("KILLS", "10"))
SEED = int(os.environ.get("SEED", random.randrange(10**6)))
#: What a broken promise is called here.
BROKEN = {"phantoms": "P1", "lost": "P2", "twice or out of order": "P3"}
MESSAGING = Path(__file__).resolve().parent.parent.parent / "messaging"


def judged(house: Installation, violations: list[Violation], folder: Path) -> str:
    """What happened in numbers; where something is wrong, the history is kept beside the server's database."""
    events = house.chronicle.events
    if violations:
        (folder / "history.txt").write_text("\n".join(f"{place} {event}" for place, event in enumerate(events)))
    kinds = {kind: sum(type(event).__name__ == kind for event in events) for kind in ("Confirmed", "Handed", "Told")}
    apps = sum(phone.kills for phone in house.phones)
    wrong = {what: sum(one.promise == promise for one in violations) for what, promise in BROKEN.items()}
    wrong["anything else"] = len(violations) - sum(wrong.values())
    return (
        f"SEED={SEED}: server killed {house.kills} times, apps {apps} times, {kinds}; {wrong}"
        f" {folder if violations else ''}"
    )


def test_every_failpoint_is_somewhere_in_the_code() -> None:
    code = "\n".join(file.read_text() for file in MESSAGING.rglob("*.py") if file.name != "failpoints.py")

    placed = set(re.findall(r'"((?:publish|pull|ack|result|hello|notice|cleanup)\.\w+_\w+)"', code))

    assert placed == set(NAMES)


@pytest.mark.faults
@pytest.mark.timeout(200 + 10 * KILLS)
async def test_killed_at_every_failpoint_nothing_is_lost_doubled_or_made_up(tmp_path: Path) -> None:
    rounds = max(1, KILLS // (2 * len(NAMES)))
    async with Installation(tmp_path, seed=SEED).open() as house:
        for name in house.random.sample(NAMES * rounds, len(NAMES) * rounds):
            times = 1 if name.startswith("cleanup") else house.random.randrange(1, 6)
            await house.killed_at(f"{name}:{times}")
        violations = await house.verdict()

    print(judged(house, violations, tmp_path))  # noqa: T201
    assert violations == []


@pytest.mark.faults
@pytest.mark.timeout(200 + 10 * KILLS)
async def test_killed_at_random_moments_nothing_is_lost_doubled_or_made_up(tmp_path: Path) -> None:
    async with Installation(tmp_path, seed=SEED).open() as house:
        for _ in range(KILLS):
            await house.killed_within(house.random.randrange(1, 300))
        violations = await house.verdict()

    print(judged(house, violations, tmp_path))  # noqa: T201
    assert violations == []
