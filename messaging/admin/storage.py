from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from messaging.admin import looks
from messaging.admin.monitor import Monitor
from messaging.models import AppStorage


@admin.register(AppStorage)
class StorageMonitor(Monitor):
    """What each app has stored of what it may. The limit is set on the app's page."""

    list_display = ("app", "has_stored", "may_store", "used")
    list_select_related = ("app",)
    search_fields = ("app__name",)
    ordering = ("-stored",)
    fields = readonly_fields = list_display

    def get_queryset(self, request: HttpRequest) -> QuerySet[AppStorage]:
        return super().get_queryset(request).with_limit()  # type: ignore[attr-defined,no-any-return]

    @admin.display(description="stored", ordering="stored")
    def has_stored(self, row: AppStorage) -> str:
        return filesizeformat(row.stored)

    @admin.display(description="limit", ordering="limit")
    def may_store(self, row: Any) -> str:
        return filesizeformat(row.limit) if row.limit else "unbounded"

    @admin.display(description="used")
    def used(self, row: Any) -> str:
        return f"{row.stored / row.limit:.0%}" if row.limit else looks.NOTHING
