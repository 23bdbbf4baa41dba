"""When a delivery is tried again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from messaging.webhooks import schedule

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def test_the_delays_are_those_of_the_specification() -> None:
    delays = [schedule.delay_after(attempts, asked=None, chance=0) for attempts in range(1, 11)]

    assert delays == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, None]


def test_a_part_of_the_delay_is_chance() -> None:
    assert schedule.delay_after(2, asked=None, chance=1) == pytest.approx(330)
    assert schedule.delay_after(2, asked=None, chance=0.5) == pytest.approx(315)


@pytest.mark.parametrize(
    ("attempts", "asked", "delay"),
    [
        (1, 60.0, 60),  # longer than the schedule
        (2, 60.0, 300),  # never sooner than it
        (1, 10.0**9, 86400),  # bounded
        (10, 60.0, None),  # and no attempt more than there are
    ],
)
def test_a_receiver_may_ask_for_more_time(attempts: int, asked: float, delay: float | None) -> None:
    assert schedule.delay_after(attempts, asked=asked, chance=0) == delay


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("99999999999999", 86400),
        ("Sun, 22 Nov 2026 10:02:00 GMT", 120),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0),
        ("Sun, 22 Nov 2026 10:02:00 -0000", 120),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("9" * 5000, None),
        ("Sun, 22 Nov 2026 10:02:00 +99999999999999", None),
        ("Sun, 99999999999999999999 Nov 2026 10:02:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str | None, seconds: float | None) -> None:
    assert schedule.retry_after(header, NOW) == seconds
