"""Query parameters: read, or refused with `invalid`. Those that nobody knows are ignored, as members of frames are."""

from __future__ import annotations

from rest_framework.request import Request

from messaging.protocol.errors import ProtocolError
from messaging.protocol.names import MAX_OFFSET

_LONGEST = 65_536


def word(request: Request, name: str) -> str:
    """The parameter's text, "" where it is not given."""
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise ProtocolError("invalid", f"{name} is given twice.")
    if not given:
        return ""
    if not given[0].isprintable() or len(given[0]) > _LONGEST:
        raise ProtocolError("invalid", f"{name} is not a text that is possible here.")
    return given[0]


def choice(request: Request, name: str, *, among: list[str]) -> str:
    """One of the words, or "" where it is not given."""
    given = word(request, name)
    if given and given not in among:
        raise ProtocolError("invalid", f"{name} is one of {', '.join(among)}.")
    return given


def whole(request: Request, name: str, *, least: int = 0, most: int = MAX_OFFSET) -> int | None:
    """A whole number within the limits, None where it is not given."""
    if name not in request.query_params:
        return None
    given = word(request, name)
    number = int(given) if given.isascii() and given.isdigit() and len(given) <= 16 else -1
    if not least <= number <= most:
        raise ProtocolError("invalid", f"{name} is a whole number from {least} to {most}.")
    return number
