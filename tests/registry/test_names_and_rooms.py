from __future__ import annotations

import pytest

from apps_registry.names import is_name, is_room_pattern, room_allowed


@pytest.mark.parametrize("name", ["a", "7", "phone-1", "Ab_.~@+-9", "x" * 128])
def test_a_name_begins_with_a_letter_or_digit(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "a b", "a/b", "a:b", "a*", "a\n", "a\x00", "é", "x" * 129])
def test_anything_else_is_no_name(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("pattern", ["room:lobby", "room:live-*", "room:l*", "room:*", "room:" + "x" * 128])
def test_rooms_are_listed_by_name_or_beginning(pattern: str) -> None:
    assert is_room_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["", "*", "room", "room:", "lobby", "device:*", "user:u1", "room:*x", "room:a*b", "room:a**", "room: *", "rooms:a"],
)
def test_other_patterns_are_refused(pattern: str) -> None:
    assert not is_room_pattern(pattern)


@pytest.mark.parametrize(
    ("patterns", "stream", "allowed"),
    [
        (["room:lobby"], "room:lobby", True),
        (["room:lobby"], "room:lobby2", False),
        (["room:lobby"], "room:lobb", False),
        (["room:lobby"], "room:LOBBY", False),
        (["room:live-*"], "room:live-7", True),
        (["room:live-*"], "room:live-", True),
        (["room:live-*"], "room:live", False),
        (["room:live-*"], "room:other", False),
        (["room:*"], "room:anything", True),
        (["room:a", "room:b*"], "room:b7", True),
        ([], "room:lobby", False),
    ],
)
def test_a_room_is_allowed_exactly_or_by_a_trailing_star(patterns: list[str], stream: str, allowed: bool) -> None:
    assert room_allowed(patterns, stream) is allowed


@pytest.mark.parametrize("stream", ["device:phone-1", "user:u1", "", "room:", "room:*", "room:a b", "room:x\n"])
def test_no_pattern_allows_what_is_no_room(stream: str) -> None:
    assert room_allowed(["*", "device:*", "user:u1", "room:*", stream], stream) is False
