"""Results at one address: devices say them (POST), services hear them (GET, the feed)."""

from __future__ import annotations

from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import PolymorphicProxySerializer
from msgspec import Raw
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps_registry.authentication import DeviceAuthentication, ServiceAuthentication, has_scope
from apps_registry.models import Device, Scope
from messaging.api import params, shapes
from messaging.api.cors import CrossOrigin
from messaging.api.edge import answer, decoded, device_of, key_of, outcomes
from messaging.api.parsers import JSONTextParser, body_text
from messaging.api.schema import FOR_DEVICES, FOR_SERVICES, WITH_BODY, counts, described
from messaging.live.limits import rule
from messaging.log import feed
from messaging.log.cursors import Report
from messaging.protocol import frames
from messaging.protocol.errors import ProtocolError
from messaging.protocol.reports import special_offsets


class Results(CrossOrigin):
    parser_classes = (JSONTextParser,)

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [DeviceAuthentication() if self._from_device() else ServiceAuthentication()]

    def get_permissions(self) -> list[BasePermission]:
        return [] if self._from_device() else [has_scope(Scope.READ)()]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        limit = rule("device", device_of(request).pk) if self._from_device() else rule("read", key_of(request).pk)
        self.spend(request, (limit, 1))

    def _from_device(self) -> bool:
        return bool(self.request and self.request.method == "POST")

    @described(
        "results_feed",
        "Read the results feed",
        {200: shapes.Feed},
        "invalid",
        "position_gone",
        *FOR_SERVICES,
        query=[
            counts("after", "The position up to which everything is known."),
            counts("limit", "Items of a page.", least=1, most=settings.MEANWHILE_PAGE_MAX),
        ],
    )
    def get(self, request: Request) -> HttpResponse:
        after = params.whole(request, "after") or 0
        limit = params.whole(request, "limit", least=1, most=settings.MEANWHILE_PAGE_MAX) or settings.MEANWHILE_PAGE
        service = key_of(request).service_id
        items = feed.items(service, after=after, limit=limit)
        if not items:
            feed.check(service, after)
        return answer({"items": items, "next": items[-1]["position"] if items else after})

    @described(
        "results",
        "Report what the app made of messages",
        {200: PolymorphicProxySerializer("ResultsAnswer", [shapes.Saved, shapes.SavedList], None)},
        "unknown_stream",
        "epoch_changed",
        *WITH_BODY,
        *FOR_DEVICES,
        request=PolymorphicProxySerializer(
            "Results", [shapes.ResultsBody, shapes.ResultsBody(many=True)], None, many=False
        ),
    )
    def post(self, request: Request) -> HttpResponse:
        device = device_of(request)
        text = body_text(request)
        if not text.lstrip().startswith("["):
            report = _report(device, text)
            (saved,) = outcomes([report])
            if isinstance(saved, ProtocolError):
                raise saved
            return answer(saved)
        reports = [_report_or_problem(device, raw) for raw in _listed(text)]
        told = iter(outcomes([report for report in reports if isinstance(report, Report)]))
        saved_or_not = [next(told) if isinstance(report, Report) else report for report in reports]
        return answer({"items": [_item(one) for one in saved_or_not]})


def _listed(text: str) -> list[Raw]:
    bodies = msgspec.json.decode(text, type=list[Raw])
    if not 1 <= len(bodies) <= settings.MEANWHILE_MAX_BATCH:
        raise ProtocolError("invalid", f"A list of results has 1 to {settings.MEANWHILE_MAX_BATCH} items.")
    return bodies


def _report(device: Device, body: str | Raw) -> Report:
    said = decoded(body, frames.Results)
    special = special_offsets(said.exceptions, said.values, max_value=settings.MEANWHILE_MAX_DATA)
    return Report(device.pk, said.stream, said.upto, said.epoch, special)


def _report_or_problem(device: Device, body: Raw) -> Report | ProtocolError:
    try:
        return _report(device, body)
    except ProtocolError as error:
        return error


def _item(outcome: Any) -> Any:
    return {"problem": outcome.as_problem()} if isinstance(outcome, ProtocolError) else outcome
