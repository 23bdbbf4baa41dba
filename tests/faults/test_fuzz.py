"""The doors for text, fuzzed: whatever comes in is a frame, a draft, a body, or a documented refusal."""

from __future__ import annotations

import contextlib

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.protocol import frames, jsontext
from messaging.protocol.errors import ProtocolError
from messaging.protocol.reports import special_offsets
from tests.faults import junk

EXAMPLES = settings(max_examples=600, deadline=None)


@EXAMPLES
@given(junk.texts(junk.DEVICE))
def test_a_device_frame_is_decoded_or_refused(text: str) -> None:
    with contextlib.suppress(ProtocolError):
        frame = frames.decode_device(text, max_depth=32)
        if isinstance(frame, frames.Results):
            special_offsets(frame.exceptions, frame.values, max_value=65536)


@EXAMPLES
@given(junk.texts(junk.SERVICE))
def test_a_service_frame_is_decoded_or_refused(text: str) -> None:
    with contextlib.suppress(ProtocolError):
        frame = frames.decode_service(text, max_depth=32)
        for raw in frame.messages if isinstance(frame, frames.Publish) else []:
            with contextlib.suppress(ProtocolError):
                frames.decode_draft(raw, max_data=65536)


@EXAMPLES
@given(st.one_of(st.binary(max_size=200), junk.texts(junk.SERVICE).map(lambda text: text.encode(errors="replace"))))
def test_what_the_door_lets_in_every_reader_reads_alike(raw: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        value = jsontext.strict(jsontext.text_of(raw), max_depth=32)
        assert msgspec.json.decode(raw, strict=True) == value or isinstance(value, float)
