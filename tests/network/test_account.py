"""A story of one device is in order; told in any wrong way, it is not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import history as h
from tests.faults.auditor import audit
from tests.network.account import Account
from tests.network.back_end import NAME
from tests.network.record import Current

PHONE, LOBBY = "phone", "room:lobby"
Told = dict[str, Any] | h.Event


def line(kind: str, **about: Any) -> dict[str, Any]:
    return {"kind": kind, "device": PHONE, "at": 0.0, **about}


def sent(type: str, **members: Any) -> dict[str, Any]:
    return line("sent", frame={"type": type, **members})


def received(type: str, **members: Any) -> dict[str, Any]:
    return line("received", frame={"type": type, **members})


def published(offset: int) -> list[Told]:
    return [h.Asked(NAME, LOBBY, f"m{offset}"), h.Confirmed(LOBBY, f"m{offset}", offset)]


def handled(offset: int, *, failed: bool = False) -> list[Told]:
    return [
        line("began", stream=LOBBY, offset=offset, data=f"m{offset}"),
        line("returned", stream=LOBBY, offset=offset, failed=failed),
    ]


#: Three messages, a value, a connection that is lost, the background; everything comes through.
STORY: list[Told] = [
    h.Joined(PHONE, LOBBY, 0),
    sent("hello", id=1, state="foreground"),
    received("welcome", re=1, generation=1, state="foreground"),
    line("adopt", stream=LOBBY, epoch="e1", done=0),
    *published(1),
    *handled(1),
    sent("results", id=2, stream=LOBBY, upto=1),
    sent("hello", id=3, state="foreground"),
    received("welcome", re=3, generation=2, state="foreground"),
    sent("notice", id=4, state="background", state_seq=3),
    received("notice_saved", re=4, state="background"),
    *published(2),
    *published(3),
    h.Valued(LOBBY, "oslo", 1),
    sent("notice", id=5, state="foreground", state_seq=4),
    received("notice_saved", re=5, state="foreground"),
    line("shown", stream=LOBBY, key="oslo", version=1),
    received("transient", stream=LOBBY),
    *handled(2),
    *handled(3, failed=True),
    sent("results", id=6, stream=LOBBY, upto=3),
    line("saved", stream=LOBBY, processed=3),
    h.Heard(NAME, PHONE, LOBBY, 1, 2, "processed"),
    h.Heard(NAME, PHONE, LOBBY, 3, 3, "failed"),
    h.FeedRead(NAME),
    h.Wants(PHONE, "foreground"),
    h.Stands(PHONE, LOBBY, 3, 3, 3),
    h.Settled(PHONE),
]


def events(story: list[Told]) -> list[h.Event]:
    account = Account(PHONE)
    return [event for one in story for event in (account.events(one) if isinstance(one, dict) else [one])]


def without(*lost: Told) -> list[Told]:
    return [one for one in STORY if one not in lost]


def with_more(after: Told, *more: Told) -> list[Told]:
    place = STORY.index(after) + 1
    return [*STORY[:place], *more, *STORY[place:]]


def instead(of: Told, other: Told) -> list[Told]:
    return [other if one == of else one for one in STORY]


def current(story: list[Told]) -> tuple[list[str], list[str]]:
    now = Current()
    for event in events(story):
        now.take(event)
    return now.lacks(), now.owes([event for event in events(story) if isinstance(event, h.Stands)])


def test_the_story_is_in_order_and_the_device_current() -> None:
    assert audit(events(STORY)) == []
    assert current(STORY) == ([], [])


THIRD, LAST = h.Heard(NAME, PHONE, LOBBY, 3, 3, "failed"), handled(3, failed=True)
AWAY = received("notice_saved", re=4, state="background")
#: What is wrong, the promise it breaks, the story.
FORGED: dict[str, tuple[str, list[Told]]] = {
    "a handler called twice": ("P3", with_more(handled(2)[1], *handled(2))),
    "a message left out": ("P2", without(*handled(2))),
    "two in the wrong order": ("P2", [*without(*handled(2)), *handled(2)]),
    "the last never came": ("P2", without(*LAST)),
    "nobody published it": ("P1", without(*published(2))),
    "another text than was confirmed": ("P1", instead(LAST[0], line("began", stream=LOBBY, offset=3, data="m2"))),
    "reported before it was handled": ("P4", with_more(published(1)[1], sent("results", id=9, stream=LOBBY, upto=1))),
    "confirmed and taken back": ("P5", instead(h.Stands(PHONE, LOBBY, 3, 3, 3), h.Stands(PHONE, LOBBY, 2, 3, 3))),
    "a gap nobody made": (
        "P7",
        instead(handled(2)[0], line("told", stream=LOBBY, **{"from": 2, "to": 2}, reason="unexplained")),
    ),
    "a value in the background": ("P6", with_more(AWAY, line("shown", stream=LOBBY, key="oslo", version=1))),
    "a passing message in the background": ("P6", with_more(AWAY, received("transient", stream=LOBBY))),
    "an older value than the newest": ("P6", with_more(h.Valued(LOBBY, "oslo", 1), h.Valued(LOBBY, "oslo", 2))),
    "a generation again": ("P5", with_more(AWAY, received("welcome", re=3, generation=1, state="background"))),
    "a result the service never heard": ("P5", without(THIRD)),
    "a result heard twice": ("P5", with_more(THIRD, THIRD)),
    "a failure told as processed": ("P5", instead(THIRD, h.Heard(NAME, PHONE, LOBBY, 3, 3, "processed"))),
}


@pytest.mark.parametrize(("promise", "forged"), FORGED.values(), ids=FORGED)
def test_a_forged_story_is_found_out(promise: str, forged: list[Told]) -> None:
    assert promise in {violation.promise for violation in audit(events(forged))}


def test_a_passing_message_between_two_notices_is_in_order() -> None:
    """Away, back and away again before the first answer came."""
    hurried = [sent("notice", id=id, state=state) for id, state in ((5, "foreground"), (6, "background"))]
    answers = [received("notice_saved", re=5, state="foreground"), received("transient", stream=LOBBY)]

    story = with_more(AWAY, *hurried, *answers, received("notice_saved", re=6, state="background"))

    assert audit(events(story)) == []


STANDS = h.Stands(PHONE, LOBBY, 3, 3, 3)


@pytest.mark.parametrize(
    ("forged", "lacks", "owes"),
    [
        (without(*LAST), [f"{LOBBY}: handled to 2 of 3"], []),
        (without(line("shown", stream=LOBBY, key="oslo", version=1)), [f"{LOBBY} oslo: 0 is shown, 1 the newest"], []),
        (without(STANDS), [], [f"{LOBBY}: processed to None of 3"]),
        (instead(STANDS, h.Stands(PHONE, LOBBY, 2, 3, 3)), [], [f"{LOBBY}: processed to (2, 3) of 3"]),
        (instead(STANDS, h.Stands(PHONE, LOBBY, 2, 2, 2)), [], [f"{LOBBY}: processed to (2, 2) of 3"]),
    ],
)
def test_who_lacks_or_owes_something_is_not_current(forged: list[Told], lacks: list[str], owes: list[str]) -> None:
    assert current(forged) == (lacks, owes)
