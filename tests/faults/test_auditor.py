"""The auditor itself: it takes a history that is right, and finds what is wrong in one that is forged."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.faults.auditor import audit
from tests.faults.history import (
    Adopted,
    Agreed,
    Asked,
    Came,
    Confirmed,
    Decreed,
    Event,
    FeedRead,
    Handed,
    Heard,
    Joined,
    Killed,
    Passed,
    Removable,
    Reported,
    Restored,
    Returned,
    Saved,
    Settled,
    Shown,
    Stands,
    Stopped,
    Told,
    Valued,
    Waiting,
    Wants,
    WentOn,
)

S, PHONE = "device:phone", "phone"


def published(*messages: str, first: int = 1) -> list[Event]:
    asked: list[Event] = [Asked("game", S, message) for message in messages]
    return asked + [Confirmed(S, message, offset) for offset, message in enumerate(messages, first)]


def handled(*messages: str, first: int = 1) -> list[Event]:
    found: list[Event] = []
    for offset, message in enumerate(messages, first):
        found += [Handed(PHONE, S, offset, message), Returned(PHONE, S, offset)]
    return found


BEGIN: list[Event] = [Joined(PHONE, S, 0), Came(PHONE, 1), Adopted(PHONE, S, 0)]
DONE: list[Event] = [Reported(PHONE, S, 3), Saved(PHONE, S, 3)]
GOOD: list[Event] = [
    *BEGIN,
    *published("a", "b", "c"),
    *handled("a"),
    # Killed with a message in its hands: it is handed over again, and that is no second time.
    Handed(PHONE, S, 2, "b"),
    Killed(PHONE),
    Wants(PHONE, "foreground"),
    Came(PHONE, 2),
    Stands(PHONE, S, 0, 2, 3),
    *handled("b", "c", first=2),
    *DONE,
    Removable(S, 4, 5, "expired"),
    *published("d", "e", "f", first=4),
    Told(PHONE, S, 4, 5, "expired"),
    Handed(PHONE, S, 6, "f"),
    Returned(PHONE, S, 6, failed=True),
    Reported(PHONE, S, 6),
    Saved(PHONE, S, 6),
    Wants(PHONE, "background"),
    Shown(PHONE, S, "berlin", 1),
    Agreed(PHONE, "background"),
    Valued(S, "berlin", 2),
    Valued(S, "berlin", 3),
    Wants(PHONE, "foreground"),
    Agreed(PHONE, "foreground"),
    Shown(PHONE, S, "berlin", 3),
    Settled(PHONE),
    Heard("game", PHONE, S, 1, 3, "processed"),
    Heard("game", PHONE, S, 4, 5, "gap"),
    Heard("game", PHONE, S, 6, 6, "failed"),
    FeedRead("game"),
]


def test_a_history_that_is_right_is_taken() -> None:
    assert audit(GOOD) == []


def test_after_a_restore_the_device_is_told_and_goes_on() -> None:
    history = [
        *BEGIN,
        *published("a", "b", "c"),
        *handled("a", "b", "c"),
        *DONE,
        Restored(S, 1),
        *published("x", first=2),
        Told(PHONE, S, 1, 0, "reset"),
        *handled("a", "x"),
        Settled(PHONE),
    ]

    assert audit(history) == []


def test_a_stream_that_waits_at_a_failure_goes_on_with_its_success_or_when_the_operator_lets_it() -> None:
    history = [
        *STOPPED,
        Waiting(PHONE, S, 2),
        *handled("b", "c", first=2),
        Reported(PHONE, S, 3),
        Saved(PHONE, S, 3),
        *published("d", first=4),
        Handed(PHONE, S, 4, "d"),
        Stopped(PHONE, S, 4),
        Decreed(stops=False),
        Reported(PHONE, S, 3, stopped=4),
        Saved(PHONE, S, 4),
        WentOn(PHONE, S, 4),
        Settled(PHONE),
        Heard("game", PHONE, S, 1, 1, "processed"),
        Heard("game", PHONE, S, 2, 2, "failed"),
        Heard("game", PHONE, S, 2, 3, "processed"),
        Heard("game", PHONE, S, 4, 4, "failed"),
        FeedRead("game"),
    ]

    assert audit(history) == []


def test_what_a_device_has_of_a_lost_history_it_may_handle_until_it_comes_back() -> None:
    history = [
        *BEGIN,
        *published("a", "b"),
        *handled("a"),
        Restored(S, 0),
        *handled("b", first=2),
        *published("x"),
        Came(PHONE, 1),
        Told(PHONE, S, 1, 0, "reset"),
        *handled("x"),
        Settled(PHONE),
    ]

    assert audit(history) == []


STOPPED: list[Event] = [
    *BEGIN,
    *published("a", "b", "c"),
    *handled("a"),
    Handed(PHONE, S, 2, "b"),
    Stopped(PHONE, S, 2),
    Reported(PHONE, S, 1, stopped=2),
    Saved(PHONE, S, 1, stopped=2),
]

FORGED: dict[str, tuple[str, Sequence[Event]]] = {
    "a confirmed message never came": ("P2", [*BEGIN, *published("a", "b"), *handled("a"), Settled(PHONE)]),
    "a message was left out": ("P2", [*BEGIN, *published("a", "b"), *handled("b", first=2)]),
    "handed over twice": ("P3", [*BEGIN, *published("a", "b"), *handled("a", "b"), *handled("b", first=2)]),
    "out of order": ("P3", [*BEGIN, *published("a", "b"), *handled("b", first=2), *handled("a")]),
    "a phantom": ("P1", [*BEGIN, *handled("never published")]),
    "two messages at one offset": ("P1", [*BEGIN, *published("a"), *published("b")]),
    "one message at two offsets": ("P2", [*BEGIN, *published("a"), Confirmed(S, "a", 2)]),
    "a confirmed message is gone after a restart": (
        "P1",
        [*BEGIN, *published("a", "b"), Wants(PHONE, "foreground"), Stands(PHONE, S, 0, 0, 1)],
    ),
    "more received than there is": ("P2", [*BEGIN, *published("a"), Stands(PHONE, S, 0, 9, 1)]),
    "a receipt counted as a result": ("P4", [*BEGIN, *published("a"), Stands(PHONE, S, 1, 1, 1)]),
    "a result before the handler returned": (
        "P4",
        [*BEGIN, *published("a"), Handed(PHONE, S, 1, "a"), Reported(PHONE, S, 1)],
    ),
    "the service heard of what was not reported": (
        "P4",
        [*BEGIN, *published("a"), *handled("a"), Heard("game", PHONE, S, 1, 1, "processed")],
    ),
    "the service heard that a gap was processed": (
        "P4",
        [
            *BEGIN,
            *published("a"),
            Removable(S, 1, 1, "expired"),
            Told(PHONE, S, 1, 1, "expired"),
            Reported(PHONE, S, 1),
            Heard("game", PHONE, S, 1, 1, "processed"),
            FeedRead("game"),
        ],
    ),
    "a confirmed result was lost": (
        "P5",
        [
            *BEGIN,
            *published("a", "b", "c"),
            *handled("a", "b", "c"),
            *DONE,
            Wants(PHONE, "foreground"),
            Stands(PHONE, S, 2, 3, 3),
        ],
    ),
    "the service never heard": (
        "P5",
        [*BEGIN, *published("a", "b", "c"), *handled("a", "b", "c"), *DONE, FeedRead("game")],
    ),
    "the service heard twice": (
        "P5",
        [
            *BEGIN,
            *published("a", "b", "c"),
            *handled("a", "b", "c"),
            *DONE,
            Heard("game", PHONE, S, 1, 3, "processed"),
            Heard("game", PHONE, S, 3, 3, "processed"),
            FeedRead("game"),
        ],
    ),
    "a failure became a success": (
        "P5",
        [
            *BEGIN,
            *published("a"),
            Handed(PHONE, S, 1, "a"),
            Returned(PHONE, S, 1, failed=True),
            Reported(PHONE, S, 1),
            Heard("game", PHONE, S, 1, 1, "processed"),
            FeedRead("game"),
        ],
    ),
    "the stream did not wait at a failure": ("P2", [*STOPPED, *handled("c", first=3)]),
    "the server went on by itself": ("P4", [*STOPPED, Saved(PHONE, S, 2)]),
    "and the device with it": ("P4", [*STOPPED, WentOn(PHONE, S, 2)]),
    "it was let go on beyond what it had": (
        "P2",
        [*BEGIN, *published("a", "b"), Reported(PHONE, S, 2), WentOn(PHONE, S, 2)],
    ),
    "a stop where nothing had failed": ("P3", [*BEGIN, *published("a"), *handled("a"), Stopped(PHONE, S, 1)]),
    "a stop that no handler knows of": ("P4", [*BEGIN, *published("a"), Reported(PHONE, S, 0, stopped=1)]),
    "the admin does not know that it waits": ("P7", [*STOPPED, Waiting(PHONE, S, None)]),
    "the admin says that it waits": ("P7", [*BEGIN, *published("a"), Waiting(PHONE, S, 1)]),
    "the service never heard of a stop": (
        "P5",
        [*STOPPED, Heard("game", PHONE, S, 1, 1, "processed"), FeedRead("game")],
    ),
    "the service heard of a stop twice": (
        "P5",
        [*STOPPED, *(Heard("game", PHONE, S, 2, 2, "failed") for _ in range(2)), FeedRead("game")],
    ),
    "the service heard of a success that nobody wants": (
        "P5",
        [
            *BEGIN,
            Asked("game", S, "a", quiet=True),
            Confirmed(S, "a", 1),
            *handled("a"),
            Reported(PHONE, S, 1),
            Heard("game", PHONE, S, 1, 1, "processed"),
            FeedRead("game"),
        ],
    ),
    "a failure was kept quiet": (
        "P5",
        [
            *BEGIN,
            Asked("game", S, "a", quiet=True),
            Confirmed(S, "a", 1),
            Handed(PHONE, S, 1, "a"),
            Returned(PHONE, S, 1, failed=True),
            Reported(PHONE, S, 1),
            Saved(PHONE, S, 1),
            FeedRead("game"),
        ],
    ),
    "an older generation came after a newer": ("P5", [Came(PHONE, 2), Came(PHONE, 1)]),
    "a value in the background": (
        "P6",
        [*BEGIN, Wants(PHONE, "background"), Agreed(PHONE, "background"), Shown(PHONE, S, "berlin", 1)],
    ),
    "bullet chat in the background": (
        "P6",
        [*BEGIN, Wants(PHONE, "background"), Agreed(PHONE, "background"), Passed(PHONE, S)],
    ),
    "an old value on return": (
        "P6",
        [*BEGIN, Valued(S, "b", 1), Valued(S, "b", 2), Wants(PHONE, "foreground"), Shown(PHONE, S, "b", 1)],
    ),
    "a value twice": ("P6", [*BEGIN, Shown(PHONE, S, "berlin", 1), Shown(PHONE, S, "berlin", 1)]),
    "the newest value never came": ("P6", [*BEGIN, Valued(S, "berlin", 1), Settled(PHONE)]),
    "a gap for what nobody removed": ("P7", [*BEGIN, *published("a"), Told(PHONE, S, 1, 1, "expired")]),
    "more expired than could": (
        "P7",
        [*BEGIN, Asked("game", S, "a", mortal=True), Told(PHONE, S, 1, 2, "expired")],
    ),
    "a gap for another reason": (
        "P7",
        [*BEGIN, *published("a"), Removable(S, 1, 1, "expired"), Told(PHONE, S, 1, 1, "purged")],
    ),
    "something vanished without a gap": (
        "P2",
        [*BEGIN, *published("a", "b"), Removable(S, 1, 1, "expired"), *handled("b", first=2)],
    ),
    "a reset for nothing": ("P11", [*BEGIN, *published("a"), *handled("a"), Told(PHONE, S, 1, 0, "reset")]),
    "lost history was handed over after the return": (
        "P1",
        [
            *BEGIN,
            *published("a", "b"),
            *handled("a"),
            Restored(S, 1),
            Came(PHONE, 2),
            *handled("b", first=2),
            Asked("game", S, "x"),
            Confirmed(S, "x", 2),
        ],
    ),
    "lost history was passed off as current": (
        "P11",
        [
            *BEGIN,
            *published("a", "b", "c"),
            *handled("a", "b", "c"),
            Restored(S, 1),
            *published("x", "y", "z", first=2),
            *handled("z", first=4),
        ],
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_history_is_rejected(name: str) -> None:
    promise, history = FORGED[name]

    assert promise in [violation.promise for violation in audit(history)]


@pytest.mark.parametrize("left_out", range(len(GOOD)))
def test_an_honest_history_with_one_event_missing_never_makes_it_stumble(left_out: int) -> None:
    audit([event for place, event in enumerate(GOOD) if place != left_out])
