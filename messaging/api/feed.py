"""The results feed: what devices made of what this service published."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Raw

from apps_registry.models import Service
from messaging.api import telling
from messaging.models import Result


def items(service: Service, *, after: int, limit: int) -> list[dict[str, Any]]:
    """What stands in the service's feed behind a position, in its order. One query."""
    rows = Result.objects.filter(service=service, position__gt=after).order_by("position")
    found = rows.values_list(
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
    return [_item(*row) for row in found[:limit]]


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
        "reported_at": telling.moment(reported_at),
    }
