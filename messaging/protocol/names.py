from __future__ import annotations

import re
from functools import lru_cache

from messaging.protocol.errors import ProtocolError

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.~@+-]{0,127}"
_STREAM = re.compile(rf"(device|user|room):({_NAME})\Z")

#: Offsets are exact in every reader's numbers (JavaScript's end at 2^53).
MAX_OFFSET = 2**53 - 1


@lru_cache(maxsize=65536)
def stream_kind(name: str) -> str:
    """`device`, `user` or `room`. Raises `unknown_stream` for what cannot be a stream's name."""
    found = _STREAM.match(name)
    if not found:
        raise ProtocolError("unknown_stream", "A stream is device:NAME, user:NAME or room:NAME.")
    return found[1]
