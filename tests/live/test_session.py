from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from messaging.log.effects import Appended, NewValue
from messaging.log.reading import Value
from tests.live.fakes import Place


def value(version: int, key: str = "berlin") -> NewValue:
    return NewValue(1, "room:x", f"7/{key}", "weather", key, version, "t", None, str(version))


def owed(*versions: int) -> list[Value]:
    """Values of a key each, as they are read for a device that comes back."""
    return [
        Value(1, f"7/key-{version}", version, 1, f'"stream":"room:x","version":{version},"data":1}}')
        for version in versions
    ]


def test_several_messages_go_in_one_frame() -> None:
    place = Place()

    place.deliver(place.commit(3))

    frames = [frame for frame in place.link.take() if frame["type"] == "messages"]
    assert [[item["offset"] for item in frame["items"]] for frame in frames] == [[1, 2, 3]]


def test_a_lost_wake_up_is_read_from_the_database_and_nothing_is_skipped() -> None:
    place = Place()
    place.commit(2)

    place.deliver(place.commit())
    place.answer_read()

    assert place.link.told() == [1, 2, 3]


def test_a_slow_phone_gets_the_rest_from_ring_or_database_as_it_acknowledges() -> None:
    place = Place(window=2, ring=4)
    place.deliver(place.commit(10))
    place.answer_read()
    first = place.link.told()

    while place.link.told()[-1] < 10:
        place.session.ack("room:x", place.link.told()[-1])
        place.session.pump()
        while place.reads:
            place.answer_read()

    assert first == [1, 2]
    assert place.link.told() == list(range(1, 11))


def test_an_expired_message_of_the_ring_is_a_gap_by_the_databases_word() -> None:
    place = Place()
    appended = place.commit(2)
    appended.items[0] = replace(appended.items[0], expires=1.0)
    place.expired = {1}

    place.deliver(appended)
    place.answer_read()

    assert [frame["type"] for frame in place.link.take() if frame["type"] != "caught_up"] == ["gap", "message"]


def test_an_expired_message_among_others_of_the_ring_is_not_sent_with_them() -> None:
    place = Place()
    appended = place.commit(3)
    appended.items[1] = replace(appended.items[1], expires=1.0)
    place.expired = {2}

    place.deliver(appended)
    place.answer_read()

    assert [frame["type"] for frame in place.link.frames if frame["type"] != "caught_up"] == [
        "message",
        "gap",
        "message",
    ]
    assert place.link.told() == [1, 2, 3]


def test_a_blocked_transport_costs_a_cursor_and_no_memory() -> None:
    place = Place(window=100)
    place.link.blocked = True
    place.deliver(place.commit(50))
    silent = place.link.told()

    place.link.blocked = False
    place.session.pump()
    while place.reads:
        place.answer_read(limit=100)

    assert silent == []
    assert place.link.told() == list(range(1, 51))


def test_in_pull_mode_the_live_path_begins_after_the_cut() -> None:
    place = Place(mode="pull", head=5)

    place.deliver(place.commit(2))

    assert place.link.told() == [6, 7]


def test_the_window_is_bounded_by_bytes_also_within_one_batch() -> None:
    place = Place(window=64, ring=64, max_bytes=2 * len(Place.item(1).text))

    place.deliver(place.commit(9))

    assert place.link.told() == [1, 2]
    place.session.ack("room:x", 1)
    place.session.pump()
    assert place.link.told() == [1, 2, 3]


def test_the_bound_of_the_window_is_in_bytes_and_not_in_characters() -> None:
    place = Place(window=64, ring=64, max_bytes=2000)
    appended = place.commit(9)
    for number, item in enumerate(appended.items):
        appended.items[number] = replace(item, text=item.text.replace('"t"', '"' + "\N{SNOWMAN}" * 400 + '"'))

    place.deliver(appended)

    assert place.link.told() == [1, 2]


def test_the_window_does_not_wait_for_what_the_pull_owns() -> None:
    place = Place(mode="pull", window=2)
    place.deliver(place.commit(2))
    full = place.session.window.room
    back = place.entry
    back.head = place.commit(3).head
    place.stream.seen(back.head)

    place.session.begin([back])
    place.deliver(place.commit())

    assert (full, place.link.told()) == (0, [1, 2, 6])


def test_a_return_in_replay_mode_sends_again_what_was_not_acknowledged() -> None:
    place = Place(window=10)
    place.deliver(place.commit(4))
    place.session.ack("room:x", 2)
    place.link.take()
    place.entry.head = 4

    place.session.begin([place.entry])
    place.session.pump()

    assert place.link.told() == [3, 4]
    assert place.link.frames[-1] == {"type": "caught_up", "stream": "room:x", "upto": 4}


def test_a_hold_ends_with_the_results_and_flushes_in_order() -> None:
    place = Place(mode="hold", head=3)
    place.deliver(place.commit(2))
    held = place.link.told()

    place.session.advanced(place.way, 3)

    assert (held, place.link.told()) == ([], [4, 5])


def test_values_that_wait_for_a_blocked_transport_are_conflated_per_key() -> None:
    place = Place()
    place.link.take()
    place.link.blocked = True
    for version, key in enumerate(["berlin", "oslo", "berlin", "berlin"], 1):
        place.session.news(value(version, key))

    place.link.blocked = False
    place.session.pump()

    told = [(frame["key"], frame["version"], frame["coalesced"]) for frame in place.link.take()]
    assert told == [("oslo", 2, 1), ("berlin", 4, 3)]


def test_in_the_background_nothing_but_every_goes_out() -> None:
    place = Place()
    place.link.take()
    place.session.set_state("background", 2)

    place.session.news(value(1))
    place.session.passing("...")
    place.deliver(place.commit())

    assert [frame["type"] for frame in place.link.take()] == ["message"]


def test_an_older_value_never_follows_a_newer_one() -> None:
    place = Place()
    place.link.take()

    place.session.news(value(5))
    place.session.news(value(4))

    assert [frame["version"] for frame in place.link.take()] == [5]


def told_in_order(place: Place) -> list[object]:
    """Offsets, and the types of what else was sent."""
    return [one.get("offset", frame["type"]) for frame in place.link.frames for one in frame.get("items", [frame])]


def test_what_is_live_comes_after_the_replay_is_complete_from_memory() -> None:
    place = Place(window=8)
    place.deliver(place.commit(2))
    place.session.begin([replace(place.entry, head=2)])  # back in the foreground; nothing was acknowledged
    place.link.take()

    place.deliver(place.commit(2))

    assert told_in_order(place) == [1, 2, "caught_up", 3, 4]


def test_what_is_live_comes_after_the_replay_is_complete_from_the_database() -> None:
    place = Place(head=2, window=8)
    place.session.pump()
    place.commit(2)
    place.repair()

    place.answer_read(limit=4)

    assert told_in_order(place) == [1, 2, "caught_up", 3, 4]


def test_a_replay_whose_last_frame_the_transport_does_not_take_at_once_is_complete_all_the_same() -> None:
    place = Place(window=8)
    appended = place.commit(4)
    padded = '"data":' + " " * 60_000
    large = [replace(item, text=item.text.replace('"data":', padded)) for item in appended.items]
    place.link.blocked = True
    place.deliver(Appended(1, "room:x", large, 4))
    place.session.begin([replace(place.entry, head=4)])
    place.link.frames, place.link.blocked, place.link.blocked_after = [], False, 1

    place.session.pump()
    place.link.blocked, place.link.blocked_after = False, None
    place.session.pump()

    assert told_in_order(place) == [1, 2, 3, 4, "caught_up"]


def test_a_closed_stream_says_so_after_its_last_message() -> None:
    place = Place(window=1)
    place.stream.closed = True
    place.deliver(place.commit(2))
    place.link.frames = [frame for frame in place.link.frames if frame["type"] != "caught_up"]
    before = [frame["type"] for frame in place.link.frames]

    place.session.ack("room:x", 1)
    place.session.pump()

    assert before == ["message"]
    assert [frame["type"] for frame in place.link.take()] == ["message", "message", "stream_closed"]


def test_a_late_range_with_a_gap_skips_nothing_that_is_to_be_sent_again() -> None:
    place = Place(head=8, window=8)
    place.expired = {4, 5}
    place.session.pump()
    place.answer_read()  # 1 to 3; from 4 on is asked for
    place.session.begin([place.entry])  # a foreground notice: nothing was acknowledged, so it begins anew

    place.answer_read()
    place.session.pump()
    place.answer_read()

    assert place.link.told() == [1, 2, 3, 1, 2, 3]


def test_a_late_range_tells_no_gap_while_the_stream_is_held() -> None:
    place = Place(mode="hold", head=2)
    place.expired = {4}
    place.session.advanced(place.way, 2)
    place.commit(2)
    place.repair()  # 3 and 4 are asked for
    place.session.begin([replace(place.entry, processed=2, head=3)])

    place.answer_read()

    assert place.link.told() == []


def test_a_hold_that_ran_out_does_not_end_the_next_one() -> None:
    place = Place(mode="hold", head=2)
    first = place.session.holds()
    place.session.advanced(place.way, 2)
    place.deliver(place.commit())
    place.session.begin([replace(place.entry, processed=2, head=3)])
    place.deliver(place.commit())

    place.session.end_holds(first)
    held = place.link.told()
    place.session.end_holds(place.session.holds())

    assert (held, place.link.told()) == ([3], [3, 4])


def test_values_that_are_owed_wait_for_a_blocked_transport() -> None:
    place = Place()
    place.link.take()
    place.stream.version = 3
    place.session.owe()
    place.link.blocked_after = 1

    place.session.values.pay({1: owed(1, 2)}, complete=False)
    before = place.session.values.owed()
    place.link.blocked_after = None
    place.link.blocked = False
    place.session.values.pay({1: owed(2, 3)}, complete=True)

    assert before == {1: 1}
    assert [frame["version"] for frame in place.link.take()] == [1, 2, 3]
    assert place.session.values.owed() == {}


def test_a_new_value_waits_behind_the_older_ones_that_are_owed() -> None:
    place = Place()
    place.link.take()
    place.stream.version = 2
    place.session.owe()

    place.session.news(value(3, "oslo"))
    before = place.link.take()
    place.session.values.pay({1: owed(1, 2)}, complete=True)

    # A receipt for 3 would cover 1 and 2: they would never be sent.
    assert before == []
    assert [frame["version"] for frame in place.link.take()] == [1, 2, 3]


def test_what_was_committed_after_the_read_takes_the_place_of_what_was_read() -> None:
    place = Place()
    place.link.take()
    place.stream.version = 2
    place.session.owe()

    place.session.news(value(3, "key-1"))
    place.session.values.pay({1: owed(1, 2)}, complete=True)

    assert [frame["version"] for frame in place.link.take()] == [2, 3]


def test_a_late_wake_up_does_not_take_the_place_of_a_newer_value_that_waits() -> None:
    place = Place()
    place.link.take()
    place.link.blocked = True
    place.session.news(value(2))
    place.session.news(value(1))

    place.link.blocked = False
    place.session.pump()

    assert [frame["version"] for frame in place.link.take()] == [2]


def test_a_value_of_before_the_return_is_read_and_its_late_wake_up_tells_nothing() -> None:
    place = Place()
    place.link.take()
    place.session.begin([replace(place.entry, version=2)])  # the wake-ups of both are still under way
    place.session.owe()
    owing = dict(place.session.values.owed())

    place.session.news(value(1))
    place.session.values.pay({1: owed(2)}, complete=True)
    place.session.news(value(2, "key-2"))
    place.session.news(value(3))

    told = [frame["version"] for frame in place.link.take() if frame["type"] == "latest"]
    assert owing == {1: 0}
    assert told == [2, 3]


def test_results_that_come_before_the_replay_do_not_leave_it_stuck() -> None:
    place = Place(head=4, window=2)  # a return: the device has 1 to 4 in hand, and says so at once

    place.session.advanced(place.way, 4)
    place.commit()
    place.repair()
    while place.reads:
        place.answer_read()

    assert place.link.told() == [1, 2, 3, 4, 5]


def test_a_receipt_for_what_there_is_not_opens_no_window() -> None:
    place = Place(window=2)

    place.session.ack("room:x", 10**6)
    place.deliver(place.commit(5))

    assert place.link.told() == [1, 2]


steps = st.lists(
    st.sampled_from(
        ["commit", "commit3", "deliver", "lose", "double", "late", "ack", "read", "block", "open", "repair"]
    ),
    max_size=60,
)


@settings(max_examples=400)
@given(
    steps,
    st.sampled_from(["replay", "pull", "hold"]),
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(1, 5),
    st.integers(1, 9),
    st.sets(st.integers(1, 30)),
)
def test_whatever_is_lost_doubled_or_late_each_offset_is_told_once_and_in_order(
    steps: list[str], mode: str, head: int, processed: int, window: int, ring: int, expired: set[int]
) -> None:
    place = Place(window=window, ring=ring, mode=mode, head=head, processed=min(processed, head))
    place.expired = {n for n in expired if n <= head}
    waiting: list[Appended] = []
    for step in steps:
        if step.startswith("commit"):
            waiting.append(place.commit(3 if step == "commit3" else 1))
        elif step == "deliver" and waiting:
            place.deliver(waiting.pop(0))
        elif step == "late" and waiting:
            place.deliver(waiting.pop())
        elif step == "double" and waiting:
            place.deliver(waiting[0])
        elif step == "lose" and waiting:
            waiting.pop()
        elif step == "ack" and place.link.told():
            place.session.ack("room:x", place.link.told()[-1])
            place.session.pump()
        elif step == "read" and place.reads:
            place.answer_read()
        elif step in {"block", "open"}:
            place.link.blocked = step == "block"
            place.session.pump()
        elif step == "repair":
            place.repair()
        assert place.session.window.count <= window

    place.link.blocked = False
    place.session.advanced(place.way, head)
    for _ in range(200):
        place.repair()
        while place.reads:
            place.answer_read()
        if place.link.told():
            place.session.ack("room:x", place.link.told()[-1])

    first = min(processed, head) if mode == "replay" else head
    assert place.link.told() == list(range(first + 1, place.head + 1))
