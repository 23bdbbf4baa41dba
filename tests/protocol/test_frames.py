from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from messaging.protocol import frames
from messaging.protocol.errors import ProtocolError
from messaging.protocol.frames import FrameError


def test_a_hello_has_defaults_for_all_but_the_token() -> None:
    frame = frames.decode_device('{"type":"hello","token":"t","unheard":1}', max_depth=32)

    assert frame == frames.Hello(token="t", state="foreground", state_seq=0, resume="replay", positions={})


def test_results_carry_exceptions_and_values() -> None:
    frame = frames.decode_device(
        '{"type":"results","stream":"room:x","upto":4,"exceptions":[{"offset":2,"status":"rejected"}],'
        '"values":[{"offset":3,"value":{"a":1}}]}',
        max_depth=32,
    )

    assert isinstance(frame, frames.Results)
    assert frame.exceptions == [frames.FailedOffset(2, "rejected", "", "")]
    assert bytes(frame.values[0].value) == b'{"a":1}'


@pytest.mark.parametrize("id", ["-1", "true", "1.5", '"7"', "null", "9007199254740992"])
def test_an_id_that_cannot_be_echoed_is_not(id: str) -> None:
    with pytest.raises(FrameError) as refused:
        frames.decode_device(f'{{"type":"dance","id":{id}}}', max_depth=32)

    assert refused.value.re is None


def test_an_unknown_type_echoes_its_id() -> None:
    with pytest.raises(FrameError) as refused:
        frames.decode_device('{"type":"dance","id":7}', max_depth=32)

    assert (refused.value.code.name, refused.value.re) == ("unknown_type", 7)


def test_a_draft_keeps_its_data_as_the_text_it_came_as() -> None:
    draft = frames.decode_draft(Raw(b'{"to":"room:x","name":"turn","data":{"n": 1.50 }}'), max_data=100)

    assert bytes(draft.data) == b'{"n": 1.50 }'


def test_a_draft_above_the_limit_is_too_large() -> None:
    with pytest.raises(ProtocolError) as refused:
        frames.decode_draft(Raw(b'{"to":"room:x","name":"turn","data":"' + b"x" * 100 + b'"}'), max_data=101)

    assert refused.value.code.name == "too_large"


@given(
    st.text(max_size=300)
    | st.sampled_from(['{"type":"ack"', '{"type":"hello","token":']).flatmap(
        lambda start: st.text(max_size=50).map(lambda rest: start + rest)
    )
)
def test_any_text_is_a_frame_or_a_documented_refusal(text: str) -> None:
    for decode in (frames.decode_device, frames.decode_service):
        try:
            decode(text, max_depth=32)
        except FrameError as error:
            assert error.code.name in {"bad_json", "too_deep", "invalid", "unknown_type"}
