from __future__ import annotations

from tests.network.plan import KINDS, MODES, plan

PLANS = [plan(seed) for seed in range(1, 31)]


def test_the_same_seed_is_the_same_plan() -> None:
    assert [plan(seed) for seed in range(1, 31)] == PLANS
    assert len(set(PLANS)) == 30


def test_thirty_plans_know_every_fault_in_every_direction_and_every_way_to_resume() -> None:
    struck = {(fault.kind, fault.way) for one in PLANS for fault in one.faults}

    assert struck == {(kind, way) for kind, ways in KINDS.items() for way in ways}
    assert {one.mode for one in PLANS} == set(MODES)
    assert any(one.absences for one in PLANS)


def test_the_trouble_is_over_in_four_seconds() -> None:
    for one in PLANS:
        assert 2 <= one.seconds <= 4
        assert all(0 <= fault.at < fault.at + fault.seconds <= one.seconds + 1e-9 for fault in one.faults)


def test_absences_come_one_after_the_other() -> None:
    for one in PLANS:
        ends = [0.0, *(away.at + away.seconds for away in one.absences)]
        assert all(end <= away.at for end, away in zip(ends, one.absences, strict=False))
