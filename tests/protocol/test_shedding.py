"""What a room takes under its app's rate: the pure decision."""

from __future__ import annotations

import pytest

from messaging.protocol.shedding import admitted

NOW = 1_700_000_000.0


def taken(priority: str, count: int, *, rate: int = 10, now: float = NOW, busy_until: float = 0.0) -> tuple[int, float]:
    """How many of so many at once a room takes, and its `busy_until` afterwards."""
    took = 0
    for _ in range(count):
        after = admitted(priority=priority, busy_until=busy_until, now=now, rate=rate)
        if after is not None:
            took, busy_until = took + 1, after
    return took, busy_until


@pytest.mark.parametrize(("priority", "takes"), [("low", 10), ("normal", 20), ("control", 100)])
def test_a_quiet_room_takes_so_many_at_once(priority: str, takes: int) -> None:
    assert taken(priority, 100)[0] == takes


def test_low_ones_leave_a_seconds_worth_to_the_normal_ones() -> None:
    _, busy_until = taken("low", 100)

    assert taken("normal", 100, busy_until=busy_until)[0] == 10


def test_when_normal_ones_fill_the_room_low_ones_wait_and_control_commands_do_not() -> None:
    _, busy_until = taken("normal", 100)

    assert taken("low", 1, busy_until=busy_until)[0] == 0
    assert taken("control", 5, busy_until=busy_until)[0] == 5


def test_a_flood_of_control_commands_costs_no_more_than_the_bucket_holds() -> None:
    _, busy_until = taken("control", 1000)

    assert busy_until == NOW + 2
    assert taken("normal", 1, now=NOW + 0.1, busy_until=busy_until)[0] == 1


@pytest.mark.parametrize("priority", ["low", "normal"])
def test_over_time_a_room_takes_its_rate(priority: str) -> None:
    busy_until, took = 0.0, 0
    for tick in range(1000):
        count, busy_until = taken(priority, 1, now=NOW + tick / 100, busy_until=busy_until)
        took += count

    assert 100 <= took <= 120  # ten seconds at ten a second, and what came at once


@pytest.mark.parametrize("rate", [1, 7, 1_000_000])
def test_one_message_passes_at_any_rate(rate: int) -> None:
    assert taken("low", 1, rate=rate)[0] == 1


def test_a_clock_that_was_set_back_does_not_shut_the_room() -> None:
    assert taken("normal", 1, busy_until=NOW + 86400)[0] == 1
