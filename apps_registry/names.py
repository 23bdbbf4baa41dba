"""What names look like. PURE. Names stand in stream names, URLs, tokens and logs."""

from __future__ import annotations

import re
from collections.abc import Iterable

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.~@+-]{0,127}\Z"
ROOM = "room:"

_NAME = re.compile(NAME_PATTERN)
_PREFIX = re.compile(r"^([A-Za-z0-9][A-Za-z0-9_.~@+-]{0,126})?\*\Z")


def is_name(text: str) -> bool:
    """True for a name of an app, service, device, user, room or type."""
    return _NAME.match(text) is not None


def is_room_pattern(text: str) -> bool:
    """True for `room:NAME`, `room:PREFIX*` and `room:*`."""
    if not text.startswith(ROOM):
        return False
    rest = text.removeprefix(ROOM)
    return is_name(rest) or _PREFIX.match(rest) is not None


def room_allowed(patterns: Iterable[str], stream: str) -> bool:
    """True if one of the patterns names this room, exactly or by a trailing `*`. Never for another kind of stream."""
    if not stream.startswith(ROOM) or not is_name(stream.removeprefix(ROOM)):
        return False
    return any(stream.startswith(pattern[:-1]) if pattern.endswith("*") else stream == pattern for pattern in patterns)
