from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.protocol import rules
from messaging.protocol.rules import Hole, Segment, Start


@pytest.mark.parametrize(
    ("delivery", "state", "sent"),
    [
        ("every", "foreground", True),
        ("every", "background", True),
        ("latest", "foreground", True),
        ("latest", "background", False),
        ("transient", "foreground", True),
        ("transient", "background", False),
    ],
)
def test_what_goes_to_whom(delivery: str, state: str, sent: bool) -> None:
    assert rules.pushed(delivery, state) is sent


@pytest.mark.parametrize(
    ("stated", "epoch", "start"),
    [
        (None, "", Start(5, False)),
        (3, "e", Start(5, False)),
        (7, "e", Start(7, False)),
        (7, "", Start(7, False)),
        (10, "e", Start(10, False)),
        (11, "e", Start(5, True)),
        (3, "other", Start(5, True)),
        (7, "other", Start(5, True)),
    ],
)
def test_a_return_begins_after_the_greater_position_of_one_history(
    stated: int | None, epoch: str, start: Start
) -> None:
    found = rules.start_of_return(processed=5, head=10, epoch="e", stated_processed=stated, stated_epoch=epoch)

    assert found == start


def test_holes_are_named_by_what_was_recorded() -> None:
    found = rules.holes(after=2, upto=12, stored=[5, 6, 11], recorded=[Hole(1, 3, "purged"), Hole(8, 9, "expired")])

    assert found == [
        Hole(3, 3, "purged"),
        Hole(4, 4, "purged"),
        Hole(7, 7, "purged"),
        Hole(8, 9, "expired"),
        Hole(10, 10, "purged"),
        Hole(12, 12, "purged"),
    ]


@given(
    st.integers(0, 20),
    st.integers(0, 30),
    st.sets(st.integers(1, 50)),
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 10)), max_size=5),
)
def test_every_offset_is_stored_or_in_exactly_one_hole(
    after: int, length: int, some: set[int], recorded: list[tuple[int, int]]
) -> None:
    upto = after + length
    stored = sorted(offset for offset in some if after < offset <= upto)

    found = rules.holes(
        after=after, upto=upto, stored=stored, recorded=[Hole(a, a + n, "expired") for a, n in recorded]
    )

    covered = [offset for hole in found for offset in range(hole.from_offset, hole.to_offset + 1)]
    assert covered == sorted(covered)
    assert sorted(covered + stored) == list(range(after + 1, upto + 1))


@given(st.integers(0, 10), st.integers(0, 15), st.sets(st.integers(1, 30)))
def test_segments_cover_each_offset_once(after: int, length: int, failed: set[int]) -> None:
    upto = after + length

    parts = rules.segments(after=after, upto=upto, special={n: Segment(n, n, "failed") for n in failed})

    covered = [offset for part in parts for offset in range(part.from_offset, part.upto + 1)]
    assert covered == list(range(after + 1, upto + 1))
    assert {part.from_offset for part in parts if part.status == "failed"} == {n for n in failed if after < n <= upto}


@given(st.lists(st.sets(st.sampled_from([1, 2, None])), max_size=12), st.sets(st.integers(1, 12)))
def test_each_service_hears_each_of_its_offsets_once(owners: list[set[int | None]], failed: set[int]) -> None:
    recipients = [(offset, sorted(who, key=str)) for offset, who in enumerate(owners, 1) if who]
    parts = rules.segments(
        after=0, upto=len(owners), special={n: Segment(n, n, "failed") for n in failed if n <= len(owners)}
    )

    told = rules.attributed(parts, recipients)

    for service in (1, 2, None):
        heard = [
            (offset, part.status)
            for who, part in told
            if who == service
            for offset in range(part.from_offset, part.upto + 1)
        ]
        own = [(offset, "failed" if offset in failed else "processed") for offset, who in recipients if service in who]
        assert sorted(heard) == own


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(0, 200))
def test_a_read_that_is_cut_by_bytes_comes_on_and_leaves_nothing_out(sizes: list[int], most: int) -> None:
    messages = [(2 * place + 1, size) for place, size in enumerate(sizes)]
    end, read = 2 * len(sizes), []
    left = messages

    while left:
        upto = rules.end_within(left, most, end=end)
        now = [one for one in left if one[0] <= upto]
        assert now
        assert len(now) == 1 or sum(size for _, size in now) <= most
        read += now
        left = left[len(now) :]

    assert read == messages
