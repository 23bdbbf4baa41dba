from __future__ import annotations

from collections.abc import Iterable

from messaging.protocol.errors import ProtocolError
from messaging.protocol.frames import FailedOffset, HandlerValue
from messaging.protocol.rules import Segment


def special_offsets(
    exceptions: Iterable[FailedOffset], values: Iterable[HandlerValue], *, max_value: int
) -> dict[int, Segment]:
    """The offsets of a report that stand alone in the feed. Raises `invalid` where one offset is said twice, and
    `too_large` for a value of more bytes.
    """
    special: dict[int, Segment] = {}
    for one in exceptions:
        if one.offset in special:
            raise ProtocolError("invalid", "An offset is in `exceptions` twice.")
        special[one.offset] = Segment(one.offset, one.offset, one.status, one.code, one.detail)
    for given in values:
        if given.offset in special:
            raise ProtocolError("invalid", "An offset has two results.")
        value = bytes(given.value)
        if len(value) > max_value:
            raise ProtocolError("too_large", f"A value is above {max_value} bytes.")
        special[given.offset] = Segment(given.offset, given.offset, value=value.decode())
    return special
