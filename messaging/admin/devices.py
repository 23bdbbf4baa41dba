"""The backlog by device: which device misses what, and what an operator can do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.html import format_html

from apps_registry.asking import Asking
from apps_registry.errors import DeviceRevoked
from messaging import operations
from messaging.admin import device_page, looks
from messaging.admin.monitor import Monitor, is_id
from messaging.models import PresenceState
from messaging.models.backlog import DeviceBacklog, Why

#: Devices one purge may name: each is a transaction, and the page that asks for them stays a page.
MOST_PURGED = 500


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [*((state.value, state.value) for state in PresenceState), ("revoked", "revoked")]

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "revoked":
            return rows.filter(revoked_at__isnull=False)
        return rows.filter(state=self.value()) if self.value() in PresenceState else rows


class BacklogFilter(admin.SimpleListFilter):
    title = "backlog"
    parameter_name = "backlog"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        behind = f"falling behind (more than {looks.number(settings.MEANWHILE_BACKLOG_SOFT)})"
        return [("yes", "has backlog"), ("behind", behind), ("gaps", "has gaps in it"), ("no", "nothing pending")]

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        conditions: dict[str, dict[str, int]] = {
            "yes": {"pending__gt": 0},
            "behind": {"pending__gt": settings.MEANWHILE_BACKLOG_SOFT},
            "gaps": {"in_gaps__gt": 0},
            "no": {"pending": 0},
        }
        return rows.filter(**conditions.get(self.value() or "", {}))


class WhyFilter(admin.SimpleListFilter):
    title = "what it waits for"
    parameter_name = "why"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(why.value, why.label) for why in Why if why]

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.filter(why=self.value()) if self.value() else rows


class BacklogList(ChangeList):
    """Sorted by what is pending when nothing else is asked for, and says so in its heading."""

    def get_ordering_field_columns(self) -> dict[int, str]:
        if ORDER_VAR in self.params:
            return super().get_ordering_field_columns()
        return {list(self.list_display).index("pending_shown"): "desc"}


@admin.register(DeviceBacklog)
class DeviceBacklogMonitor(Asking, Monitor):
    list_display = (
        "device",
        "pending_shown",
        "waits_for",
        "state_shown",
        "seen",
        "oldest",
        "not_received_shown",
        "last_return",
        "user_name",
        "app_name",
    )
    list_filter = (StateFilter, BacklogFilter, WhyFilter, "app")
    list_select_related = ("app",)
    search_fields = ("name", "user")
    search_help_text = "Device or user"
    actions = ("disconnect", "skip", "purge", "new_token", "revoke")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return DeviceBacklog.objects.with_backlog().with_last_return()

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        return ("-pending", "name")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BacklogList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "What each device misses", **(extra_context or {})})

    # --- columns -----------------------------------------------------------------------------------------------------

    @admin.display(ordering="name")
    def device(self, row: Any) -> str:
        return row.name

    @admin.display(description="app", ordering="app__name")
    def app_name(self, row: Any) -> str:
        return row.app.name

    @admin.display(description="user", ordering="user")
    def user_name(self, row: Any) -> str:
        return row.user or looks.NOTHING

    @admin.display(description="state", ordering="state")
    def state_shown(self, row: Any) -> str:
        return looks.pill(row.state) if row.revoked_at is None else looks.pill("revoked")

    @admin.display(description="pending", ordering="pending")
    def pending_shown(self, row: Any) -> str:
        if not row.pending:
            return "0"
        gone = format_html('<span class="mw-note">{} in gaps</span> ', looks.number(row.in_gaps)) if row.in_gaps else ""
        behind = looks.pill("falling behind") if row.pending > settings.MEANWHILE_BACKLOG_SOFT else ""
        return format_html("{} {}<b>{}</b>", behind, gone, looks.number(row.pending))

    @admin.display(description="not received", ordering="not_received")
    def not_received_shown(self, row: Any) -> str:
        return looks.number(row.not_received)

    # As ages: the least first, which is the newest moment; nothing pending counts as no age.
    @admin.display(description="oldest pending", ordering=F("oldest_pending_at").desc(nulls_first=True))
    def oldest(self, row: Any) -> str:
        return looks.since(row.oldest_pending_at, row.read_at)

    @admin.display(description="waits because", ordering="why")
    def waits_for(self, row: Any) -> str:
        return Why(row.why).label or looks.NOTHING

    @admin.display(description="last seen", ordering=F("last_seen").asc(nulls_first=True))
    def seen(self, row: Any) -> str:
        return looks.since(row.last_seen, row.read_at, suffix=" ago") if row.last_seen else "never"

    @admin.display(description="last return", ordering=F("last_outcome").asc(nulls_first=True))
    def last_return(self, row: Any) -> str:
        return looks.pill(row.last_outcome or "")

    # --- one device --------------------------------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        rows = DeviceBacklog.objects.with_backlog().select_related("app", "presence")
        row = rows.filter(pk=object_id).first() if is_id(object_id) else None
        if request.method not in {"GET", "HEAD"} or not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        return self._page(
            request,
            "device",
            title=f"{row.name}: what it misses",
            may_operate=self.has_operate_permission(request),
            **device_page.context(row),
        )

    def _page(self, request: HttpRequest, name: str, **context: Any) -> TemplateResponse:
        own = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, **context}
        return TemplateResponse(request, f"admin/messaging/devicebacklog/{name}.html", own)

    # --- actions -----------------------------------------------------------------------------------------------------

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("messaging.operate_devicebacklog")

    @admin.action(description="Disconnect (the app stays away until it connects anew)", permissions=["operate"])
    def disconnect(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        ids = _ids(rows)
        try:
            closed = operations.disconnect(ids)
        except TimeoutError:
            return self._refused(request, "The server did not answer in time.")
        return self._done(request, ids, f"Connections closed: {closed}.", remember="Disconnected.")

    @admin.action(description="Purge what waits in its own stream (leaves a gap)", permissions=["operate"])
    def purge(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        ids = _ids(rows)
        if len(ids) > MOST_PURGED:
            return self._refused(request, f"Choose at most {MOST_PURGED} devices.")
        if "confirmed" not in request.POST:
            waiting = list(DeviceBacklog.objects.filter(pk__in=ids).with_own_stream().select_related("app"))
            stored, pending = sum(row.own_stored for row in waiting), sum(row.own_pending for row in waiting)
            counts = {"waiting": waiting, "stored": stored, "pending": pending}
            return self._page(request, "purge", title="Purge?", back=_back(request), **counts)
        removed = operations.purge(ids)
        return self._done(request, ids, f"Messages purged: {removed}.", remember=f"Purged ({removed} in all).")

    @admin.action(description="Skip the message its own stream stopped at (leaves a gap)", permissions=["operate"])
    def skip(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        question = (
            "The message that their app failed on is removed from the device's own stream, for good. The device and the"
            " services that published it are told a gap; what waits behind it follows at the next return."
        )
        if page := self._ask(request, rows, "skip", question, "Skip"):
            return page
        ids = _ids(rows)
        skipped = operations.skip(ids)
        return self._done(request, ids, f"Messages skipped: {skipped}.", remember=f"Skipped ({skipped} in all).")

    @admin.action(description="New token (older ones are void)", permissions=["operate"])
    def new_token(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        chosen = list(rows[:2])
        if len(chosen) != 1:
            return self._refused(request, "Choose one device.")
        if page := self._ask(
            request,
            rows,
            "new_token",
            "The token it has is void: it is thrown out until its app"
            " gets the new one, which the next page shows, once.",
            "New token",
        ):
            return page
        device = chosen[0]
        try:
            token, expires_at = operations.new_token(device)
        except DeviceRevoked as error:
            return self._refused(request, f"{error.detail} Its service registers it again.")
        self._remember(request, [device.pk], "New token; older ones are void.")
        page = self._page(request, "token", title="New token", device=device, token=token, expires_at=expires_at)
        # On this page only: not in a message (a cookie), nor in the browser's cache.
        page["Cache-Control"] = "no-store"
        return page

    @admin.action(description="Revoke (tokens are void, open connections are closed)", permissions=["operate"])
    def revoke(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        question = (
            "Their tokens are void, open connections are closed; they stay out until a service registers them again."
        )
        if page := self._ask(request, rows, "revoke", question, "Revoke"):
            return page
        ids = _ids(rows)
        revoked = operations.revoke(ids)
        return self._done(request, ids, f"Devices revoked: {revoked}.", remember="Revoked.")

    def _ask(
        self, request: HttpRequest, rows: QuerySet[Any], action: str, question: str, button: str
    ) -> HttpResponse | None:
        """On a device's page, a no leads back there."""
        back = _back(request)
        more = {"back": back, "no": looks.device_page(back)} if back else {}
        return self.ask(request, rows, action, question, button, **more)

    def _done(self, request: HttpRequest, ids: list[int], text: str, *, remember: str) -> HttpResponse | None:
        """Says what came of it, and notes who did it."""
        self._remember(request, ids, remember)
        self.message_user(request, text, messages.SUCCESS)
        return _to_where_it_was_chosen(request)

    def _refused(self, request: HttpRequest, text: str) -> HttpResponse | None:
        self.message_user(request, text, messages.ERROR)
        return _to_where_it_was_chosen(request)

    def _remember(self, request: HttpRequest, ids: list[int], what: str) -> None:
        devices = DeviceBacklog.objects.filter(pk__in=ids)
        LogEntry.objects.log_actions(request.user.pk, devices, CHANGE, change_message=what)


def _ids(rows: QuerySet[Any]) -> list[int]:
    return list(rows.order_by("pk").values_list("pk", flat=True))


def _back(request: HttpRequest) -> int | None:
    """The device whose page the action was chosen on."""
    place = request.POST.get("back", "")
    return int(place) if is_id(place) else None


def _to_where_it_was_chosen(request: HttpRequest) -> HttpResponse | None:
    """A device's page; None is the list."""
    device = _back(request)
    return HttpResponseRedirect(looks.device_page(device)) if device else None
