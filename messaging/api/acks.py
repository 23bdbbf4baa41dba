"""What a device has stored safely, said over HTTP: for clients that poll."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpResponse
from msgspec import Struct
from rest_framework.request import Request

from messaging.api import shapes
from messaging.api.device import DeviceView
from messaging.api.edge import decoded, device_of, outcomes
from messaging.api.parsers import JSONTextParser, body_text
from messaging.api.schema import FOR_DEVICES, WITH_BODY, described
from messaging.live import node
from messaging.log import reading
from messaging.log.cursors import Receipt
from messaging.log.effects import Effects, Received
from messaging.log.reading import Entry
from messaging.protocol.errors import ProtocolError
from messaging.protocol.frames import Position, StreamName


class Ack(Struct):
    stream: StreamName
    upto: Position
    epoch: str = ""


class AckLatest(Struct):
    stream: StreamName
    version: Position


class AcksBody(Struct):
    acks: list[Ack] = []
    latest: list[AckLatest] = []


class Acks(DeviceView):
    """Receipts: messages and `latest` values the client has stored. Cumulative, idempotent; processed is not said."""

    parser_classes = (JSONTextParser,)

    @described(
        "acks",
        "Acknowledge what is stored safely",
        {204: None},
        "unknown_stream",
        "epoch_changed",
        *WITH_BODY,
        *FOR_DEVICES,
        request=shapes.AcksBody,
    )
    def post(self, request: Request) -> HttpResponse:
        """All of them or, with one that is refused, none."""
        said = decoded(body_text(request), AcksBody)
        if len(said.acks) + len(said.latest) > settings.MEANWHILE_MAX_BATCH:
            raise ProtocolError("invalid", f"At most {settings.MEANWHILE_MAX_BATCH} receipts.")
        device = device_of(request)
        entries = {entry.stream: entry for entry in reading.entries([device.pk])[device.pk]}
        received = [Received(device.pk, _entry(entries, ack).stream_id, ack.upto) for ack in said.acks]
        receipts = [Receipt(_entry(entries, ack).subscription_id, upto=ack.upto) for ack in said.acks]
        receipts += [Receipt(_entry(entries, ack).subscription_id, version=ack.version) for ack in said.latest]
        for outcome in outcomes(receipts):
            if isinstance(outcome, ProtocolError):
                raise outcome
        # Beside an open socket: its window opens.
        node.current().announce(Effects(received=received))
        return HttpResponse(status=204)


def _entry(entries: dict[str, Entry], ack: Ack | AckLatest) -> Entry:
    entry = entries.get(ack.stream)
    if entry is None:
        raise ProtocolError("unknown_stream")
    if isinstance(ack, Ack) and ack.epoch and ack.epoch != entry.epoch:
        raise ProtocolError("epoch_changed", "", stream=ack.stream, epoch=entry.epoch, processed=entry.processed)
    return entry
