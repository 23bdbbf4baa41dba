"""What became of one message: who received it, who processed it, where it failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from rest_framework.request import Request

from messaging.api import paging, shapes, streams, telling
from messaging.api.edge import ServiceView, app_of
from messaging.api.schema import CURSOR, FOR_SERVICES, LIMIT, described
from messaging.live import node
from messaging.models import Message, Result, Stream, Subscription
from messaging.protocol.errors import ProtocolError


class MessageState(ServiceView):
    @described(
        "message_state",
        "See who received, processed or failed on a message",
        {200: shapes.MessageState},
        "unknown_stream",
        "not_found",
        "invalid",
        *FOR_SERVICES,
        query=[LIMIT, CURSOR],
    )
    def get(self, request: Request, stream: str, offset: int) -> HttpResponse:
        row = streams.find(app_of(request), stream)
        if not 1 <= offset <= row.head:
            raise ProtocolError("not_found")
        # Who joined later was never meant to have it.
        meant = Subscription.objects.filter(stream=row, joined_offset__lt=offset).select_related("device", "stream")
        meant = meant.annotate(result=_result(row, offset))
        message = _message(row, offset)
        stored_at = message["published_at"] if message else None
        return paging.page(
            request,
            meant,
            lambda found: _told(found, offset, stored_at),
            by="device__name",
            stream=row.name,
            offset=offset,
            message=message,
        )


def _result(stream: Stream, offset: int) -> Any:
    """The outer device's result for an offset. Several services may hear of it: they hear the same.

    Where the stream stopped at it and has gone on, it failed first: what came of it in the end counts.
    """
    covering = Result.objects.filter(
        stream=stream, device=OuterRef("device"), upto__gte=offset, from_offset__lte=offset
    )
    first = [
        Subquery(rows.order_by("upto").values("pk")[:1])
        for rows in (covering.exclude(status="failed"), covering.filter(status="failed"))
    ]
    return Coalesce(*first)


def _message(stream: Stream, offset: int) -> dict[str, Any] | None:
    """None once retention, expiry or a purge has removed it."""
    row = Message.objects.filter(stream=stream, offset=offset).select_related("type", "service").defer("payload")
    found = row.first()
    if found is None:
        return None
    return {
        "name": found.type.name,
        "service": found.service.name if found.service else None,
        "id": found.dedup_id,
        "published_at": telling.moment(found.published_at),
        "expires_at": telling.moment(found.expires_at),
    }


def _told(rows: Sequence[Subscription], offset: int, stored_at: str | None) -> list[dict[str, Any]]:
    wanted = [row.result for row in rows]  # type: ignore[attr-defined]
    results = Result.objects.in_bulk([id for id in wanted if id is not None])
    return [_device(row, offset, results.get(id), stored_at) for row, id in zip(rows, wanted, strict=True)]


def _device(row: Subscription, offset: int, result: Result | None, stored_at: str | None) -> dict[str, Any]:
    """`processed` is said of what the app handled, not of what failed or was lost (P4).

    LIMIT: when it was pushed or received is not kept: a moment per device and message would be a write each.
    """
    state = result.status if result else _on_the_way(row, offset)
    at = telling.moment(result.reported_at) if result else stored_at if state == "stored" else None
    told = {"status": result.status, "code": result.code, "detail": result.detail} if result else {}
    handled = result is None or result.status == "processed"
    stopped = {"stopped": True} if row.stopped_at == offset else {}
    return {
        "device": row.device.name,
        "state": state,
        "at": at,
        "received": row.received >= offset,
        "processed": row.processed >= offset and handled,
        **told,
        **stopped,
    }


def _on_the_way(row: Subscription, offset: int) -> str:
    """How far a message without a result has got.

    LIMIT: that it was pushed is known to the process that holds the device's connection; others say `stored`.
    """
    if row.processed >= offset:
        return "processed"  # its result is past the time results are kept, or nobody was to hear of it
    if row.received >= offset:
        return "received"
    session = node.current().hub.sessions.get(row.device_id)
    return "pushed" if session and session.under_way(row.stream.name, offset) else "stored"
