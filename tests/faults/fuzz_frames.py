"""make fuzz: the decoder of frames and drafts under atheris, for as long as it is let: bytes in, a frame or a refusal.

python -m tests.faults.fuzz_frames -max_total_time=60
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import atheris

from tests.faults import junk

with atheris.instrument_imports(include=["messaging"]):
    from messaging.protocol import frames, jsontext
    from messaging.protocol.errors import ProtocolError
    from messaging.protocol.reports import special_offsets


def one_input(raw: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        text = jsontext.text_of(raw)
        for decode in (frames.decode_device, frames.decode_service):
            with contextlib.suppress(ProtocolError):
                _look_inside(decode(text, max_depth=32))


def _look_inside(frame: frames.DeviceFrame | frames.ServiceFrame) -> None:
    if isinstance(frame, frames.Results):
        special_offsets(frame.exceptions, frame.values, max_value=65536)
    elif isinstance(frame, frames.Publish):
        for message in frame.messages:
            with contextlib.suppress(ProtocolError):
                frames.decode_draft(message, max_data=65536)


if __name__ == "__main__":
    seeds = Path(tempfile.mkdtemp())
    for place, frame in enumerate(junk.DEVICE + junk.SERVICE):
        (seeds / str(place)).write_text(json.dumps(frame))
    atheris.Setup([*sys.argv, str(seeds)], one_input)
    atheris.Fuzz()
