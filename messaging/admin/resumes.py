from __future__ import annotations

from django.contrib import admin

from messaging.admin import looks
from messaging.admin.monitor import Monitor, within
from messaging.models import Resume


@admin.register(Resume)
class ResumeMonitor(Monitor):
    """Every return of a device: what it had missed, and how it got it."""

    list_display = ("device_name", "app", "at", "cause", "mode", "pending", "pages", "took", "outcome_shown")
    list_display_links = None
    list_filter = ("outcome", "mode", "cause", within("started_at"), "device__app")
    list_select_related = ("device__app",)
    search_fields = ("device__name", "device__user")

    @admin.display(description="device", ordering="device__name")
    def device_name(self, resume: Resume) -> str:
        return looks.device_link(resume.device)

    @admin.display(ordering="device__app__name")
    def app(self, resume: Resume) -> str:
        return resume.device.app.name

    @admin.display(description="returned (UTC)", ordering="started_at")
    def at(self, resume: Resume) -> str:
        return looks.moment(resume.started_at)

    @admin.display
    def took(self, resume: Resume) -> str:
        return looks.took(resume.finished_at - resume.started_at) if resume.finished_at else looks.NOTHING

    @admin.display(description="outcome", ordering="outcome")
    def outcome_shown(self, resume: Resume) -> str:
        return looks.pill(resume.outcome)
