"""Streams of an app: look, members in and out, purge, close."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from rest_framework.request import Request

from apps_registry.models import App
from messaging import operations
from messaging.api import devices, managed_shapes, paging, params, telling
from messaging.api.bodies import HistoryBody, PurgeBody, RoomBody
from messaging.api.edge import ServiceView, answer, app_of
from messaging.api.schema import CURSOR, FOR_SERVICES, LIMIT, WITH_BODY, asks, described
from messaging.live import node
from messaging.log import membership, retention
from messaging.log.effects import Effects, Left
from messaging.log.reading import Entry
from messaging.log.verbs import Joining, Leaving
from messaging.models import Stream, StreamKind, Subscription
from messaging.protocol.errors import ProtocolError
from messaging.protocol.names import stream_kind

logger = logging.getLogger("meanwhile.api")


class Streams(ServiceView):
    @described(
        "streams",
        "List streams",
        {200: managed_shapes.StreamList},
        "invalid",
        *FOR_SERVICES,
        query=[asks("kind", str, "Only of this kind.", enum=StreamKind.values), LIMIT, CURSOR],
    )
    def get(self, request: Request) -> HttpResponse:
        rows = _streams(app_of(request))
        kind = params.choice(request, "kind", among=StreamKind.values)
        return paging.page(request, rows.filter(kind=kind) if kind else rows, _told)


class OneStream(ServiceView):
    @described("stream", "See a stream", {200: managed_shapes.StreamAbout}, "unknown_stream", *FOR_SERVICES)
    def get(self, request: Request, stream: str) -> HttpResponse:
        return answer(_told([find(app_of(request), stream)])[0])

    @described(
        "set_room",
        "State a room: what newcomers get of its past",
        {200: managed_shapes.StreamAbout, 201: managed_shapes.StreamAbout},
        "unknown_stream",
        *WITH_BODY,
        *FOR_SERVICES,
        request=RoomBody,
    )
    def put(self, request: Request, stream: str) -> HttpResponse:
        """States a room, which is made if it is missing: what is not told becomes its default. Rooms only."""
        _rooms_only(stream)
        body = RoomBody(data=request.data)
        body.is_valid(raise_exception=True)
        history = HistoryBody.read(body.validated_data.get("history") or {})
        app = app_of(request)
        created = membership.set_room(app_id=app.pk, room=stream, history=history)
        return answer(_told([find(app, stream)])[0], status=201 if created else 200)


class Member(ServiceView):
    """A device in a room. Its own and its user's stream come with registering."""

    @described(
        "add_member",
        "Put a device into a room",
        {200: managed_shapes.MemberEntry},
        "unknown_stream",
        "unknown_device",
        *WITH_BODY,
        *FOR_SERVICES,
        request=HistoryBody,
    )
    def put(self, request: Request, stream: str, device: str) -> HttpResponse:
        """Idempotent: who is in keeps its cursors. The room is made if it is missing. The body may be left out."""
        _rooms_only(stream)
        row = devices.find(app_of(request), device)
        body = HistoryBody(data=request.data)
        body.is_valid(raise_exception=True)
        history = HistoryBody.read(body.validated_data)
        entry: Entry = node.current().journal.call(Joining(row.app_id, row.pk, stream, history))
        node.announce(Effects(devices=[row.pk]))
        return answer({"device": row.name, **entry.as_frame()})

    @described(
        "remove_member",
        "Take a device out of a room",
        {204: None},
        "invalid",
        "unknown_stream",
        "unknown_device",
        *FOR_SERVICES,
    )
    def delete(self, request: Request, stream: str, device: str) -> HttpResponse:
        """Idempotent. The device's cursor is gone with it."""
        app = app_of(request)
        _rooms_only(find(app, stream).name)
        row = devices.find(app, device)
        node.current().journal.call(Leaving(row.pk, stream))
        node.announce(Effects(devices=[row.pk], left=[Left(row.pk, stream)]))
        return HttpResponse(status=204)


class Purge(ServiceView):
    """Removes messages up to an offset; who had not processed them hears of a gap."""

    @described(
        "purge_stream",
        "Remove messages up to an offset",
        {200: managed_shapes.Purged},
        "unknown_stream",
        *WITH_BODY,
        *FOR_SERVICES,
        request=PurgeBody,
    )
    def post(self, request: Request, stream: str) -> HttpResponse:
        row = find(app_of(request), stream)
        body = PurgeBody(data=request.data)
        body.is_valid(raise_exception=True)
        effects = Effects()
        removed = retention.purge(stream_id=row.pk, upto=body.validated_data["upto"], effects=effects)
        node.announce(effects)
        row.refresh_from_db(fields=["head", "tail"])
        logger.info("purged app=%s stream=%s upto=%d", row.app_id, row.name, body.validated_data["upto"])
        return answer({"stream": row.name, "removed": removed, "head": row.head, "tail": row.tail})


class Close(ServiceView):
    """Ends a room: what was published is still delivered, then `stream_closed`. Idempotent, and for good."""

    @described("close_stream", "End a room", {200: managed_shapes.Closed}, "unknown_stream", "invalid", *FOR_SERVICES)
    def post(self, request: Request, stream: str) -> HttpResponse:
        row = find(app_of(request), stream)
        _rooms_only(row.name)
        operations.close_room(row)
        row.refresh_from_db(fields=["head", "closed_at"])
        return answer({"stream": row.name, "head": row.head, "closed_at": telling.moment(row.closed_at)})


def find(app: App, name: str) -> Stream:
    """The app's stream. Raises `unknown_stream`, the same whether it is another app's or nobody's (P9)."""
    stream_kind(name)
    row = _streams(app).filter(name=name).first()
    if row is None:
        raise ProtocolError("unknown_stream")
    return row


def _rooms_only(stream: str) -> None:
    if stream_kind(stream) != StreamKind.ROOM:
        raise ProtocolError("invalid", "This can be done to rooms only.")


def _streams(app: App) -> QuerySet[Stream]:
    # A query by stream, not a GROUP BY: see `devices`.
    of_one = Subscription.objects.filter(stream=OuterRef("pk")).values("stream")
    return Stream.objects.filter(app=app).annotate(members=Coalesce(Subquery(of_one.values(counted=Count("pk"))), 0))


def _history(row: Stream) -> dict[str, Any] | None:
    if row.history_last is not None:
        return {"last": row.history_last}
    return {"since": telling.moment(row.history_since)} if row.history_since else None


def _told(rows: Sequence[Stream]) -> list[dict[str, Any]]:
    return [
        {
            "stream": row.name,
            "kind": row.kind,
            "epoch": row.epoch,
            "head": row.head,
            "tail": row.tail,
            "shed": row.shed,
            "members": row.members,  # type: ignore[attr-defined]
            "history": _history(row),
            "created_at": telling.moment(row.created_at),
            "closed_at": telling.moment(row.closed_at),
        }
        for row in rows
    ]
