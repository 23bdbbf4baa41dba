from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from messaging.protocol.bucket import Bucket
from messaging.protocol.window import Lane, Window


def test_a_full_window_opens_with_the_receipts() -> None:
    window = Window(max_count=2, max_bytes=100)
    lane = Lane(window, after=5)
    lane.sent(6, 10)
    lane.sent(7, 10)
    full = window.room

    lane.ack(6)

    assert (full, window.room, lane.next, lane.acked) == (0, 1, 8, 6)


def test_bytes_bound_the_window_and_let_one_large_message_pass() -> None:
    window = Window(max_count=10, max_bytes=100)
    lane = Lane(window, after=0)
    before = window.room
    lane.sent(1, 500)

    assert (before, window.room) == (10, 0)


def test_an_ack_above_what_was_sent_counts_as_what_was_sent() -> None:
    lane = Lane(Window(max_count=10, max_bytes=100), after=0)
    lane.sent(1, 1)

    lane.ack(99)

    assert lane.acked == 1


def test_what_is_sent_again_and_was_acknowledged_before_waits_for_nothing() -> None:
    window = Window(max_count=2, max_bytes=1000)
    lane = Lane(window, after=0)

    lane.ack(3)  # of an earlier connection; the replay has only begun
    for offset in (1, 2, 3, 4):
        lane.sent(offset, 10)

    assert window.room == 1
    assert (lane.acked, lane.holds(3), lane.holds(4)) == (3, False, True)


def test_lanes_share_the_window_of_their_connection() -> None:
    window = Window(max_count=3, max_bytes=100)
    one, two = Lane(window, after=0), Lane(window, after=0)
    one.sent(1, 1)
    two.sent(1, 1)
    two.sent(2, 1)
    full = window.room

    two.forget()

    assert (full, window.room) == (0, 2)


@given(st.lists(st.tuples(st.sampled_from(["send", "ack", "pull", "rewind"]), st.integers(0, 12))))
def test_the_window_holds_exactly_what_is_sent_and_not_acknowledged(steps: list[tuple[str, int]]) -> None:
    window = Window(max_count=1000, max_bytes=10**6)
    lane = Lane(window, after=0)
    waiting: list[int] = []
    claimed = 0
    for step, number in steps:
        if step in {"ack", "pull"}:
            claimed = max(claimed, number)
        if step == "send":
            waiting += [lane.next] if lane.next > claimed else []
            lane.sent(lane.next, 7)
        elif step == "ack":
            waiting = [offset for offset in waiting if offset > min(number, lane.next - 1)]
            lane.ack(number)
        elif step == "pull":
            lane.own_pull(number)
            waiting = [offset for offset in waiting if offset > number]
        else:
            lane.rewind(min(number, lane.next - 1))
            waiting = []
        assert (window.count, window.bytes) == (len(waiting), 7 * len(waiting))
        assert lane.acked < lane.next


def test_a_bucket_fills_again_with_time() -> None:
    bucket = Bucket(rate=10, burst=2, now=0)

    taken = [bucket.take(0), bucket.take(0), bucket.take(0), bucket.take(0.1), bucket.take(0.1)]

    assert taken == [True, True, False, True, False]
