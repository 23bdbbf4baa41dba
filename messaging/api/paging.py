"""Lists in pages: in the order of a name, with an opaque cursor (RFC 8288 `Link: rel="next"`)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from django.db.models import Model, QuerySet
from django.http import HttpResponse
from rest_framework.request import Request

from messaging.api import params
from messaging.api.edge import answer
from messaging.api.schema import MOST_LISTED
from messaging.protocol.errors import ProtocolError

#: Items of a page when no limit is asked for.
PAGE = 100

Row = TypeVar("Row", bound=Model)


def page(
    request: Request,
    rows: QuerySet[Row],
    told: Callable[[Sequence[Row]], list[dict[str, Any]]],
    *,
    by: str = "name",
    newest_first: bool = False,
    **beside: Any,
) -> HttpResponse:
    """The page asked for by `limit` and `cursor`. by: the unique text column (or path) that orders the list.

    newest_first: backwards, for ids that sort by time. beside: further members of the answer.
    """
    limit = params.whole(request, "limit", least=1, most=MOST_LISTED) or PAGE
    cursor = params.word(request, "cursor")
    if cursor:
        rows = rows.filter(**{f"{by}__{'lt' if newest_first else 'gt'}": _read(cursor)})
    found = list(rows.order_by(f"-{by}" if newest_first else by)[: limit + 1])
    after = _write(_column(found[limit - 1], by)) if len(found) > limit else ""
    return answer(
        {**beside, "items": told(found[:limit]), "next": after or None}, headers=next_link(request, limit, after)
    )


def next_link(request: Request, limit: int, cursor: str) -> dict[str, str]:
    """The header for the next page with the same filters; {} on the last. Relative: proxies change the host."""
    if not cursor:
        return {}
    kept = {name: value for name, value in request.query_params.items() if name not in {"cursor", "limit"}}
    query = urlencode({**kept, "limit": limit, "cursor": cursor})
    return {"Link": f'<{request.path}?{query}>; rel="next"'}


def _column(row: Model, path: str) -> str:
    found: Any = row
    for name in path.split("__"):
        found = getattr(found, name)
    return str(found)


def _write(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).rstrip(b"=").decode()


def _read(cursor: str) -> str:
    try:
        name = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        name = ""
    if not name or not name.isprintable():
        raise ProtocolError("invalid", "The cursor is not one of this server's.")
    return name
