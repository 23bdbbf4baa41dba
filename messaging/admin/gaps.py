from __future__ import annotations

from django.contrib import admin

from messaging.admin import looks
from messaging.admin.monitor import Monitor, within
from messaging.models import Gap


@admin.register(Gap)
class GapMonitor(Monitor):
    """What can no longer be delivered, and why."""

    list_display = ("stream_name", "app", "offsets", "messages", "reason_shown", "at")
    list_display_links = None
    list_filter = ("reason", within("created_at"), "stream__app")
    list_select_related = ("stream__app",)
    search_fields = ("stream__name",)

    @admin.display(description="stream", ordering="stream__name")
    def stream_name(self, gap: Gap) -> str:
        return looks.stream_link(gap.stream_id, gap.stream.name)

    @admin.display(ordering="stream__app__name")
    def app(self, gap: Gap) -> str:
        return gap.stream.app.name

    @admin.display(ordering="from_offset")
    def offsets(self, gap: Gap) -> str:
        return looks.span(gap.from_offset, gap.to_offset)

    @admin.display
    def messages(self, gap: Gap) -> str:
        return looks.number(gap.to_offset - gap.from_offset + 1)

    @admin.display(description="reason", ordering="reason")
    def reason_shown(self, gap: Gap) -> str:
        return looks.pill(gap.reason)

    @admin.display(description="written (UTC)", ordering="created_at")
    def at(self, gap: Gap) -> str:
        return looks.moment(gap.created_at)
