"""The results feed: what devices made of what a service published, for HTTP and for services that listen."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Raw

from messaging.models import Feed, Result
from messaging.protocol import wire
from messaging.protocol.errors import ProtocolError

_COLUMNS = (
    "position",
    "device__name",
    "stream__name",
    "from_offset",
    "upto",
    "status",
    "code",
    "detail",
    "value",
    "reported_at",
)


def items(service_id: int, *, after: int, limit: int) -> list[dict[str, Any]]:
    """What stands in a service's feed behind a position, in its order. One query."""
    rows = Result.objects.filter(service=service_id, position__gt=after).order_by("position")
    return [_item(*row) for row in rows.values_list(*_COLUMNS)[:limit]]


def head(service_id: int) -> int:
    """The last position that was given; 0 before the first."""
    return Feed.objects.filter(service=service_id).values_list("head", flat=True).first() or 0


def check(service_id: int, after: int) -> None:
    """Raises `position_gone` for a position that this feed has not got to: it is of another history (P11)."""
    last = head(service_id)
    if after > last:
        raise ProtocolError("position_gone", "The feed has not got so far: it is another one now.", head=last)


def _item(
    position: int | None,
    device: str,
    stream: str,
    first: int,
    upto: int,
    status: str,
    code: str,
    detail: str,
    value: str | None,
    reported_at: datetime,
) -> dict[str, Any]:
    told = {} if value is None else {"value": Raw(value.encode())}
    return {
        "position": position,
        "device": device,
        "stream": stream,
        "from": first,
        "upto": upto,
        "status": status,
        "code": code,
        "detail": detail,
        **told,
        "reported_at": wire.instant(reported_at),
    }
