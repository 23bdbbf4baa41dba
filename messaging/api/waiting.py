"""A pull that waits: what a view leaves for the edge, which waits on the loop and asks the view once more."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.http import HttpResponse

from messaging.log.reading import Entry

#: Set in the scope of the second asking.
_AGAIN = "meanwhile.waited"
_LEFT = "meanwhile_waiting"


class Waiting(NamedTuple):
    """Whose pull waits for news of which streams, and how long (s). The response beside it tells of nothing.

    everything: it asks for all streams that the device has.
    """

    device_id: int
    entries: list[Entry]
    seconds: int
    everything: bool


def leave(response: HttpResponse, waiting: Waiting) -> None:
    """Marks a response that need not go out yet."""
    setattr(response, _LEFT, waiting)


def left(response: Any) -> Waiting | None:
    found: Waiting | None = getattr(response, _LEFT, None)
    return found


def again(scope: dict[str, Any]) -> dict[str, Any]:
    """The same request, after the wait."""
    return {**scope, _AGAIN: True}


def has_waited(request: Any) -> bool:
    return _AGAIN in getattr(request, "scope", {})
