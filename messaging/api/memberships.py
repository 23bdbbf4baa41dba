"""A device's own rooms: in by its token's right, and out. The frames `join` and `leave` over HTTP."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from messaging import rooms
from messaging.api import shapes
from messaging.api.device import DeviceView
from messaging.api.edge import answer, device_of
from messaging.api.schema import FOR_DEVICES, described
from messaging.live import node
from messaging.log.effects import Effects, Left
from messaging.log.reading import Entry
from messaging.log.verbs import Joining, Leaving


class Membership(DeviceView):
    @described(
        "join", "Join a room the token allows", {200: shapes.StreamEntry}, "not_allowed", "unknown_stream", *FOR_DEVICES
    )
    def put(self, request: Request, stream: str) -> HttpResponse:
        """Idempotent: who is in keeps its cursors. The room is made if it is missing."""
        device = device_of(request)
        rooms.check_room(stream)
        rooms.check_may_join(device, stream)
        entry: Entry = node.current().journal.call(Joining(device.app_id, device.pk, stream))
        node.announce(Effects(devices=[device.pk]))
        return answer(entry.as_frame())

    @described("leave", "Leave a room", {204: None}, "not_allowed", "unknown_stream", *FOR_DEVICES)
    def delete(self, request: Request, stream: str) -> HttpResponse:
        """Idempotent. The cursor is gone with it."""
        device = device_of(request)
        rooms.check_room(stream)
        node.current().journal.call(Leaving(device.pk, stream))
        node.announce(Effects(devices=[device.pk], left=[Left(device.pk, stream)]))
        return HttpResponse(status=204)
