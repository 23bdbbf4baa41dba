"""Frames as nobody should send them: valid ones with a member replaced, taken away or put in, and text broken."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

#: What each side may say, by type, with members that would be right.
DEVICE: list[dict[str, Any]] = [
    {"type": "hello", "token": "x", "state": "foreground", "state_seq": 1, "resume": "replay", "positions": {}},
    {"type": "notice", "state": "background", "state_seq": 5, "id": 1},
    {"type": "ack", "stream": "room:fuzz", "upto": 1, "epoch": "a"},
    {"type": "ack_latest", "stream": "room:fuzz", "version": 1},
    {
        "type": "results",
        "stream": "room:fuzz",
        "upto": 3,
        "id": 2,
        "exceptions": [{"offset": 1, "status": "failed", "code": "E", "detail": "d"}],
        "values": [{"offset": 2, "value": {"a": 1}}],
    },
    {"type": "join", "stream": "room:fuzz", "id": 3},
    {"type": "leave", "stream": "room:fuzz", "id": 4},
    {"type": "refresh", "token": "x", "id": 5},
    {"type": "ping", "id": 6},
]
SERVICE: list[dict[str, Any]] = [
    {
        "type": "publish",
        "id": 1,
        "messages": [
            {"to": "room:fuzz", "name": "turn", "data": {"a": [1]}, "id": "one", "ttl": 60},
            {"to": ["room:fuzz", "device:fuzz"], "name": "weather", "data": None, "key": "k"},
            {"to": "room:fuzz", "name": "chat", "data": "hi"},
        ],
    },
    {"type": "listen", "id": 2, "to": ["results", "presence"], "after": 0},
    {"type": "ping", "id": 3},
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 0, 1, 2**53 - 1, 2**53, 2**63, 2**64, 10**400]),
    st.floats(),
    st.text(max_size=40),
    st.sampled_from(["", "\x00", "\ud800", "room:fuzz", "device:fuzz", "user:", "room:" + "x" * 200, "\u2028"]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@st.composite
def texts(draw: st.DrawFn, valid: list[dict[str, Any]]) -> str:
    """The text of a frame, most of them near one that is right."""
    frame: Any = json.loads(json.dumps(draw(st.sampled_from(valid))))
    for _ in range(draw(st.integers(0, 3))):
        frame = _changed(draw, frame)
    text = json.dumps(frame, ensure_ascii=draw(st.booleans()))
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.sampled_from(["", "{", "]", ",", '"', "\\", "\\u0000", "NaN", "1e999"]))
    return text


def _changed(draw: st.DrawFn, value: Any) -> Any:
    """The value with something changed, at its top or further in."""
    if isinstance(value, dict) and value:
        name = draw(st.sampled_from(sorted(value)))
        match draw(st.sampled_from(["inside", "replace", "remove", "add"])):
            case "inside":
                return {**value, name: _changed(draw, value[name])}
            case "remove":
                return {other: one for other, one in value.items() if other != name}
            case "add":
                return {**value, draw(st.text(max_size=8)): draw(values)}
        return {**value, name: draw(values)}
    if isinstance(value, list) and value and draw(st.booleans()):
        return [_changed(draw, value[0]), *value[1:]]
    return draw(values)
