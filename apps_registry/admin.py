"""The editable part of the admin: apps, services and their keys, message types; devices to look at and revoke.

Nothing is decided here: actions call `services` and report. No page shows a signing key or, a second time, an API key.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html

from apps_registry import services
from apps_registry.asking import Asking
from apps_registry.deletion import OnlyUnused
from apps_registry.devices import check_rooms, revoke_device
from apps_registry.errors import TooManyKeys
from apps_registry.models import App, Device, MessageType, Scope, Service, ServiceKey


class TypeRow(forms.ModelForm):
    """A type in the list of its app."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # As on its own page: messages and results point at it by name.
        self.fields["name"].disabled = self.instance.pk is not None


@admin.register(App)
class AppAdmin(Asking, OnlyUnused):
    kept_for = ("device", "stream")
    instead = "An app that was used stays. To shut it: revoke the keys of its services, void its device tokens."
    list_display = ("name", "room_rate", "storage_limit", "created_at")
    search_fields = ("name",)
    readonly_fields = ("created_at",)
    actions = ("void_device_tokens",)

    class ServiceInline(admin.TabularInline):
        model = Service
        fields = ("name",)
        extra = 0
        can_delete = False
        show_change_link = True

    class TypeInline(admin.TabularInline):
        model = MessageType
        form = TypeRow
        fields = ("name", "delivery", "priority", "ttl_seconds", "result_required", "on_failure")
        extra = 0
        can_delete = False
        show_change_link = True

    inlines = (ServiceInline, TypeInline)

    def get_readonly_fields(self, request: HttpRequest, obj: App | None = None) -> tuple[str, ...]:
        # Tokens carry the app's name.
        return (*self.readonly_fields, "name") if obj else self.readonly_fields

    @admin.action(description="Void all device tokens (new signing key)", permissions=["change"])
    def void_device_tokens(self, request: HttpRequest, apps: QuerySet[App]) -> HttpResponse | None:
        question = "Every device of these apps is thrown out within seconds, and stays out until it has a new token."
        if page := self.ask(request, apps, "void_device_tokens", question, "Void all device tokens"):
            return page
        for app in apps:
            services.rotate_signing_key(app=app)
            self.log_change(request, app, "All device tokens voided.")
        self.message_user(request, f"All device tokens are void for: {', '.join(app.name for app in apps)}.")
        return None


class _KeyColumns:
    """How a key is shown: never more than its prefix."""

    @admin.display(description="key", ordering="prefix")
    def shown(self, key: ServiceKey) -> str:
        return str(key)

    @admin.display(description="scopes")
    def scope_names(self, key: ServiceKey) -> str:
        return ", ".join(key.scopes)


class KeyInline(_KeyColumns, admin.TabularInline):
    model = ServiceKey
    fields = readonly_fields = ("shown", "scope_names", "created_at", "last_used_at", "revoked_at")
    verbose_name_plural = "keys (a new one: action in the list of services; to revoke one: list of service keys)"
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Service | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ServiceKey | None = None) -> bool:
        return False


@admin.register(Service)
class ServiceAdmin(OnlyUnused):
    kept_for = ("message", "latestvalue", "result", "webhook")
    instead = "To shut a service that was used: revoke its keys."
    list_display = ("name", "app", "created_at")
    list_filter = ("app",)
    list_select_related = ("app",)
    search_fields = ("name", "app__name")
    readonly_fields = ("created_at",)
    inlines = (KeyInline,)
    actions = ("new_key", "new_publish_key")

    def get_readonly_fields(self, request: HttpRequest, obj: Service | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "app") if obj else self.readonly_fields

    @admin.action(description="New API key (all scopes)", permissions=["change"])
    def new_key(self, request: HttpRequest, chosen: QuerySet[Service]) -> None:
        self._new_key(request, chosen, services.ALL_SCOPES)

    @admin.action(description="New API key (publish only)", permissions=["change"])
    def new_publish_key(self, request: HttpRequest, chosen: QuerySet[Service]) -> None:
        self._new_key(request, chosen, [Scope.PUBLISH])

    def _new_key(self, request: HttpRequest, chosen: QuerySet[Service], scopes: Iterable[str]) -> None:
        # One at a time: messages too long for a cookie would be stored in the session table, keys and all.
        if chosen.count() != 1:
            self.message_user(request, "Choose one service.", messages.ERROR)
            return
        service = chosen.get()
        try:
            _, text = services.create_key(service=service, scopes=scopes)
        except TooManyKeys as error:
            self.message_user(request, error.detail, messages.ERROR)
            return
        self.message_user(request, f"New key of {service}, shown only now: {text}", messages.WARNING)


@admin.register(ServiceKey)
class ServiceKeyAdmin(_KeyColumns, Asking):
    list_display = ("shown", "service", "scope_names", "created_at", "last_used_at", "revoked_at")
    list_filter = ("service__app", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("service__app",)
    search_fields = ("prefix", "service__name")
    fields = readonly_fields = list_display
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ServiceKey]) -> HttpResponse | None:
        question = "These keys open nothing from now on, for good. Who still uses one can no longer publish."
        if page := self.ask(request, keys, "revoke", question, "Revoke"):
            return page
        revoked = [key for key in keys if services.revoke_key(key=key)]
        for key in revoked:
            self.log_change(request, key, "Revoked.")
        self.message_user(request, f"Keys revoked: {len(revoked)}.")
        return None


class MessageTypeForm(forms.ModelForm):
    def clean(self) -> dict[str, Any] | None:
        told = super().clean()
        app = self.cleaned_data.get("app") or (self.instance.app if self.instance.pk else None)
        if app:
            services.check_report_to(app=app, services=self.cleaned_data.get("report_to") or ())
        return told


@admin.register(MessageType)
class MessageTypeAdmin(OnlyUnused):
    kept_for = ("message", "latestvalue")
    instead = "It can go when none of it is stored any more: processed by all, expired or purged."
    form = MessageTypeForm
    list_display = ("name", "app", "delivery", "priority", "ttl_seconds", "result_required", "on_failure")
    list_editable = ("delivery",)
    list_filter = ("app", "delivery", "priority")
    list_select_related = ("app",)
    search_fields = ("name",)
    filter_horizontal = ("report_to",)

    def get_readonly_fields(self, request: HttpRequest, obj: MessageType | None = None) -> tuple[str, ...]:
        # Other types are other rows: messages and results point at them by name.
        return ("app", "name") if obj else ()


class DeviceForm(forms.ModelForm):
    def clean_rooms(self) -> list[str]:
        try:
            return check_rooms(self.cleaned_data["rooms"] or [])
        except ValidationError as error:
            raise ValidationError(error.message_dict["rooms"]) from error


@admin.register(Device)
class DeviceAdmin(Asking, OnlyUnused):
    """Devices are registered by services (that makes their streams too): here they are seen, and revoked."""

    kept_for = ("result", "resume")
    instead = "Revoke it instead: services have yet to hear what became of their messages."
    form = DeviceForm
    list_display = ("name", "app", "user", "platform", "created_at", "revoked_at")
    list_filter = ("app", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("app",)
    search_fields = ("name", "user")
    fields = ("name", "app", "user", "platform", "rooms", "created_at", "revoked_at", "what_it_misses")
    readonly_fields = ("name", "app", "user", "created_at", "revoked_at", "what_it_misses")
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description="what it misses")
    def what_it_misses(self, device: Device) -> str:
        address = reverse("admin:messaging_devicebacklog_change", args=[device.pk])
        return format_html('<a href="{}">its streams, returns and failures</a>', address)

    @admin.action(description="Revoke (tokens are void, open sockets are closed)", permissions=["change"])
    def revoke(self, request: HttpRequest, devices: QuerySet[Device]) -> HttpResponse | None:
        question = "Their tokens are void, open sockets are closed; they stay out until a service registers them again."
        if page := self.ask(request, devices.select_related("app"), "revoke", question, "Revoke"):
            return page
        revoked = [device for device in devices.select_related("app") if revoke_device(device=device)]
        for device in revoked:
            self.log_change(request, device, "Revoked.")
        self.message_user(request, f"Devices revoked: {len(revoked)}.")
        return None
