"""Webhooks: where services are told, made and switched off here; deliveries, and what is done about dead ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.core.exceptions import ValidationError
from django.db.models import Case, Count, F, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce, Greatest
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from apps_registry import webhooks as registry
from apps_registry.asking import Asking
from apps_registry.models import Webhook
from messaging.admin import looks
from messaging.admin.monitor import Monitor, within
from messaging.models import DeliveryState, WebhookDelivery
from messaging.protocol.errors import ProtocolError
from messaging.webhooks import control


class WebhookForm(forms.ModelForm):
    class Meta:
        model = Webhook
        fields = ("service", "url", *Webhook.EVENTS)
        widgets: ClassVar = {"url": forms.TextInput(attrs={"class": "vLargeTextField"})}

    def clean(self) -> dict[str, Any] | None:
        told = super().clean()
        if not events_of(self.cleaned_data):
            raise ValidationError("Choose at least one event.")
        service = self.cleaned_data.get("service")
        if service and self.instance.pk is None:
            registry.check_number(service)
        return told


def events_of(told: dict[str, Any]) -> list[str]:
    return [event for event in Webhook.EVENTS if told.get(event)]


class OnFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [("on", "on"), ("off", "off")]

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.filter(disabled_at__isnull=self.value() == "on") if self.value() in {"on", "off"} else rows


@admin.register(Webhook)
class WebhookAdmin(admin.ModelAdmin):
    form = WebhookForm
    list_display = (
        "public_id",
        "service",
        "state_shown",
        "dead_shown",
        "waiting_shown",
        "behind_shown",
        "told",
        "url",
    )
    list_filter = (OnFilter, "service__app")
    list_select_related = ("service__app",)
    search_fields = ("public_id", "url", "service__name")
    fields = ("service", "url", *Webhook.EVENTS)
    readonly_fields = ("public_id", "state_shown", "disabled_reason", "position", "created_at")
    actions = ("send_test", "rotate_secret", "disable", "enable")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Webhook]:
        """With the numbers of deliveries that are not through and of dead letters, and what waits in the feed."""
        behind = Case(
            When(results=True, then=Greatest(Coalesce(F("service__feed__head"), 0) - F("position"), 0)),
            default=Value(0),
        )
        return (
            super()
            .get_queryset(request)
            .annotate(
                behind=behind,
                waiting=Count("deliveries", filter=Q(deliveries__delivered_at=None, deliveries__failed_at=None)),
                dead=Count("deliveries__failed_at"),
            )
        )

    def get_fields(self, request: HttpRequest, obj: Webhook | None = None) -> tuple[str, ...]:
        return (*self.fields, *self.readonly_fields) if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Webhook | None = None) -> tuple[str, ...]:
        return ("service", *self.readonly_fields) if obj else ()

    # --- columns -----------------------------------------------------------------------------------------------------

    @admin.display(description="is told of")
    def told(self, webhook: Webhook) -> str:
        return ", ".join(webhook.events)

    @admin.display(description="state", ordering="disabled_at")
    def state_shown(self, webhook: Webhook) -> str:
        return looks.pill("off" if webhook.disabled_at else "on")

    @admin.display(description="results waiting", ordering="behind")
    def behind_shown(self, webhook: Any) -> str:
        return looks.number(webhook.behind)

    @admin.display(description="open", ordering="waiting")
    def waiting_shown(self, webhook: Any) -> str:
        return self._deliveries(webhook, DeliveryState.OPEN, webhook.waiting)

    @admin.display(description="dead", ordering="dead")
    def dead_shown(self, webhook: Any) -> str:
        return self._deliveries(webhook, DeliveryState.DEAD, webhook.dead)

    def _deliveries(self, webhook: Webhook, state: DeliveryState, count: int) -> str:
        """The number, as a link to them."""
        if not count:
            return "0"
        address = reverse("admin:messaging_webhookdelivery_changelist")
        return format_html('<a href="{}?state={}&q={}">{}</a>', address, state, webhook, looks.number(count))

    # --- changes -----------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Webhook, form: Any, change: bool) -> None:
        events = events_of(form.cleaned_data)
        if change:
            control.change(webhook=obj, url=obj.url, events=events)
        else:
            obj.__dict__.update(control.create(service=obj.service, url=obj.url, events=events).__dict__)

    def response_add(self, request: HttpRequest, obj: Webhook, post_url_continue: str | None = None) -> HttpResponse:
        return self._secret(request, obj, "New webhook")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """Its deliveries go with it, which nobody may delete by themselves."""
        _, counts, _, protected = super().get_deleted_objects(objs, request)
        return [str(webhook) for webhook in objs], counts, set(), protected

    def delete_model(self, request: HttpRequest, obj: Webhook) -> None:
        control.delete(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        for webhook in Webhook.objects.filter(pk__in=_ids(queryset)):
            control.delete(webhook)

    @admin.action(description="Send a test", permissions=["change"])
    def send_test(self, request: HttpRequest, chosen: QuerySet[Webhook]) -> None:
        sent = 0
        for webhook in Webhook.objects.filter(pk__in=_ids(chosen)):
            try:
                control.ping(webhook)
            except ProtocolError as error:
                self.message_user(request, f"No test for {webhook}: {error.detail}", messages.ERROR)
            else:
                sent += 1
        self.message_user(request, f"Tests on their way: {sent}. What becomes of them: webhook deliveries.")

    @admin.action(description="New secret (the old one signs as well for a day)", permissions=["change"])
    def rotate_secret(self, request: HttpRequest, chosen: QuerySet[Webhook]) -> HttpResponse | None:
        rows = list(chosen[:2])
        if len(rows) != 1:
            self.message_user(request, "Choose one webhook.", messages.ERROR)
            return None
        registry.rotate_secret(webhook=rows[0])
        self.log_change(request, rows[0], "New secret.")
        return self._secret(request, rows[0], "New secret")

    @admin.action(description="Switch off (what waits, waits)", permissions=["change"])
    def disable(self, request: HttpRequest, chosen: QuerySet[Webhook]) -> None:
        reason = f"Switched off by {request.user.get_username()}."[:128]
        count = sum(registry.disable(webhook=webhook, reason=reason) for webhook in chosen)
        self.message_user(request, f"Webhooks switched off: {count}.")

    @admin.action(description="Switch on (it goes on where it stopped)", permissions=["change"])
    def enable(self, request: HttpRequest, chosen: QuerySet[Webhook]) -> None:
        count = sum(control.enable(webhook) for webhook in chosen)
        self.message_user(request, f"Webhooks switched on: {count}.")

    def _secret(self, request: HttpRequest, webhook: Webhook, title: str) -> HttpResponse:
        """On this page only: not in a message (a cookie), nor in the browser's cache."""
        own = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, "webhook": webhook}
        page = TemplateResponse(request, "admin/messaging/webhook/secret.html", own)
        page["Cache-Control"] = "no-store"
        return page


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        words = {DeliveryState.OPEN: "not through", DeliveryState.DEAD: "dead letters"}
        return [(state.value, words.get(state, state.value)) for state in DeliveryState]

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.in_state(self.value()) if self.value() in DeliveryState else rows  # type: ignore[attr-defined]


@admin.register(WebhookDelivery)
class DeliveryMonitor(Asking, Monitor):
    """What became of each POST. The body is not shown: it is the app's own data."""

    exclude = ("body",)
    list_display = (
        "state_shown",
        "event",
        "service",
        "hook",
        "attempts",
        "said",
        "made",
        "next_attempt",
        "message_id",
    )
    list_display_links = None
    list_filter = (StateFilter, "event", within("created_at"), "webhook__service__app")
    list_select_related = ("webhook__service__app",)
    search_fields = ("message_id", "webhook__public_id")
    search_help_text = "Id of a delivery or a webhook"
    actions = ("send_again", "discard")

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        return super().get_queryset(request).defer("body")

    @admin.display(description="webhook", ordering="webhook__public_id")
    def hook(self, delivery: WebhookDelivery) -> str:
        address = reverse("admin:apps_registry_webhook_change", args=[delivery.webhook_id])
        return format_html('<a href="{}">{}</a>', address, delivery.webhook)

    @admin.display(ordering="webhook__service")
    def service(self, delivery: WebhookDelivery) -> str:
        return str(delivery.webhook.service)

    @admin.display(description="state")
    def state_shown(self, delivery: WebhookDelivery) -> str:
        return looks.pill(delivery.state)

    @admin.display(description="last answer", ordering="last_error")
    def said(self, delivery: WebhookDelivery) -> str:
        return delivery.last_error or (f"HTTP {delivery.last_status}" if delivery.last_status else looks.NOTHING)

    @admin.display(description="made (UTC)", ordering="created_at")
    def made(self, delivery: WebhookDelivery) -> str:
        return looks.moment(delivery.created_at)

    @admin.display(description="next attempt (UTC)", ordering="next_attempt_at")
    def next_attempt(self, delivery: WebhookDelivery) -> str:
        if delivery.webhook.disabled_at:
            return "webhook is off" if delivery.state == DeliveryState.OPEN else looks.NOTHING
        return looks.moment(delivery.next_attempt_at) if delivery.state == DeliveryState.OPEN else looks.NOTHING

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("messaging.operate_webhookdelivery")

    @admin.action(description="Send again (dead letters: the whole schedule)", permissions=["operate"])
    def send_again(self, request: HttpRequest, chosen: QuerySet[WebhookDelivery]) -> None:
        dead = _dead(chosen)
        LogEntry.objects.log_actions(request.user.pk, dead, CHANGE, change_message="Sent again.")
        count = control.send_again(_ids(dead))
        self.message_user(request, f"Dead letters sent again: {count}.", messages.SUCCESS)

    @admin.action(description="Discard (dead letters, for good)", permissions=["operate"])
    def discard(self, request: HttpRequest, chosen: QuerySet[WebhookDelivery]) -> HttpResponse | None:
        dead = _dead(chosen)
        question = "These dead letters are forgotten, for good: the receiver will not hear of them by webhook."
        if page := self.ask(request, dead, "discard", question, "Discard"):
            return page
        LogEntry.objects.log_actions(request.user.pk, dead, DELETION, change_message="Discarded.")
        count = control.discard(_ids(dead))
        self.message_user(request, f"Dead letters discarded: {count}.", messages.SUCCESS)
        return None


def _dead(chosen: QuerySet[WebhookDelivery]) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(pk__in=_ids(chosen)).in_state(DeliveryState.DEAD)


def _ids(rows: QuerySet[Any]) -> list[int]:
    return list(rows.order_by("pk").values_list("pk", flat=True))
