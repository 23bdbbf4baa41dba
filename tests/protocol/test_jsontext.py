from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.protocol.errors import ProtocolError
from messaging.protocol.jsontext import strict, text_of


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1,]",
        "{'a':1}",
        "nan",
        "NaN",
        "-Infinity",
        "[1e999]",
        "-1e999",
        '{"a":1,"a":1}',
        '[{"b":{"a":1,"a":2}}]',
        '"\\ud800"',
        '"\\uDC00 tail"',
        '{"\\ud800":1}',
        '"\ud800"',
        '"\\u0000"',
        '"\\\\\\u0000"',
        '"\x00"',
        '"\t"',
        "01",
        "1 2",
        "9" * 5000,
    ],
)
def test_what_readers_would_understand_differently_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        strict(text, max_depth=32)

    assert refused.value.code.name == "bad_json"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ('{"a":{"b":[1,2.5,"ü"]}}', {"a": {"b": [1, 2.5, "ü"]}}),
        ('"\\ud83d\\ude00"', "😀"),
        ('"😀"', "😀"),
        ("12345678901234567890", 12345678901234567890),
        ('"\\\\u0041"', "\\u0041"),
        ('"\\\\u0000"', "\\u0000"),
        ("1e308", 1e308),
    ],
)
def test_what_all_readers_understand_alike_passes(text: str, value: object) -> None:
    assert strict(text, max_depth=32) == value


def test_depth_counts_nesting_and_not_brackets() -> None:
    wide = json.dumps([[] for _ in range(1000)])
    quoted = json.dumps("[" * 1000 + '\\"[')

    assert len(strict(wide, max_depth=2)) == 1000
    assert strict(quoted, max_depth=2) == "[" * 1000 + '\\"['
    with pytest.raises(ProtocolError) as refused:
        strict("[[[]]]", max_depth=2)
    assert refused.value.code.name == "too_deep"


def test_lists_in_objects_in_lists_are_levels_each() -> None:
    text = "[{}]"
    for _ in range(15):
        text = '[{"a":' + text + "}]"

    strict(text, max_depth=32)
    with pytest.raises(ProtocolError):
        strict(text, max_depth=31)


def test_nesting_that_would_exhaust_the_parser_is_an_error_like_any_other() -> None:
    with pytest.raises(ProtocolError) as refused:
        strict("[" * 100_000, max_depth=32)
    assert refused.value.code.name == "too_deep"


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(ProtocolError) as refused:
        text_of(b'"\xff"')
    assert refused.value.code.name == "bad_json"


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(_values, st.booleans())
def test_every_plain_value_passes_unchanged(value: object, ascii: bool) -> None:
    assert strict(json.dumps(value, ensure_ascii=ascii), max_depth=100) == value


@given(st.text(max_size=200))
def test_any_text_is_a_value_or_a_documented_refusal(text: str) -> None:
    try:
        strict(text, max_depth=32)
    except ProtocolError as error:
        assert error.code.name in {"bad_json", "too_deep"}
