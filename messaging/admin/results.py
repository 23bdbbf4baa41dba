from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from messaging.admin import looks
from messaging.admin.monitor import Monitor, within
from messaging.models import Result, ResultStatus

#: What an app could not or would not take.
PROBLEMS = (ResultStatus.FAILED, ResultStatus.REJECTED)


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [("problem", "failed or rejected"), *((status.value, status.value) for status in ResultStatus)]

    def queryset(self, request: HttpRequest, results: QuerySet[Result]) -> QuerySet[Result]:
        if self.value() == "problem":
            return results.filter(status__in=PROBLEMS)
        return results.filter(status=self.value()) if self.value() else results


@admin.register(Result)
class ResultMonitor(Monitor):
    """What the apps made of their messages. What a handler returned is not shown: it is the app's own data."""

    exclude = ("value",)
    list_display = (
        "status_shown",
        "device_name",
        "stream_name",
        "offsets",
        "code",
        "detail_shown",
        "service",
        "at",
    )
    list_display_links = None
    list_filter = (StatusFilter, within("reported_at"), "device__app")
    list_select_related = ("device", "stream", "service__app")
    search_fields = ("device__name", "stream__name", "code")

    @admin.display(description="status", ordering="status")
    def status_shown(self, result: Result) -> str:
        return looks.pill(result.status)

    @admin.display(description="device", ordering="device__name")
    def device_name(self, result: Result) -> str:
        return looks.device_link(result.device)

    @admin.display(description="stream", ordering="stream__name")
    def stream_name(self, result: Result) -> str:
        return looks.stream_link(result.stream_id, result.stream.name)

    @admin.display(ordering="from_offset")
    def offsets(self, result: Result) -> str:
        return looks.span(result.from_offset, result.upto)

    @admin.display(description="detail", ordering="detail")
    def detail_shown(self, result: Result) -> str:
        return looks.clamped(result.detail)

    @admin.display(description="reported (UTC)", ordering="reported_at")
    def at(self, result: Result) -> str:
        return looks.moment(result.reported_at)
