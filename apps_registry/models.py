"""Who talks, and which change is of which kind: the part of the product that operators edit."""

from __future__ import annotations

import secrets
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps_registry.endpoints import LONGEST_URL, url_problem
from apps_registry.names import NAME_PATTERN

#: Names of apps, services, devices and types: they stand in stream names, URLs and logs.
NAME = RegexValidator(
    NAME_PATTERN,
    "Letters, digits and _ . ~ @ + - only, beginning with a letter or digit, at most 128.",
)

LONGEST_TTL = 3650 * 86400
MOST_ROOM_RATE = 1_000_000


def new_signing_key() -> str:
    return secrets.token_urlsafe(48)


def new_webhook_id() -> str:
    """What a webhook is called outside."""
    return f"wh_{secrets.token_hex(8)}"


def check_url(url: str) -> None:
    if problem := url_problem(url):
        raise ValidationError(problem)


class App(models.Model):
    """A tenant: one product of one team. Nothing of one app is visible in another (P9)."""

    name = models.CharField(max_length=128, unique=True, validators=[NAME])
    signing_key = models.CharField(max_length=128, default=new_signing_key, editable=False)
    room_rate = models.PositiveIntegerField(
        "room rate (messages/s)",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_ROOM_RATE)],
        help_text="What a room takes a second; beyond, messages of low priority are shed first. Empty: unbounded.",
    )
    storage_limit = models.PositiveBigIntegerField(
        "storage limit (bytes)",
        null=True,
        blank=True,
        help_text="What its messages and values may take. Empty: the server's default. 0: unbounded.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Service(models.Model):
    """A back end that publishes into an app and hears the results."""

    app = models.ForeignKey(App, models.CASCADE, related_name="services")
    name = models.CharField(max_length=128, validators=[NAME])
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["app", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["app", "name"], name="service_unique_in_app"),
        ]

    def __str__(self) -> str:
        return f"{self.app.name}/{self.name}"


class Scope(models.TextChoices):
    PUBLISH = "publish"
    READ = "read"
    MANAGE = "manage"


class ServiceKey(models.Model):
    """An API key: the prefix is shown, of the secret only the SHA-256 is stored."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="keys")
    prefix = models.CharField(max_length=16, unique=True)
    digest = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering: ClassVar = ["service", "-created_at"]

    def __str__(self) -> str:
        return f"mw_{self.prefix}_…"


class Webhook(models.Model):
    """An address of a service that is told by signed POSTs (Standard Webhooks), and of what.

    The events are columns, since SQL asks for them. The secrets are kept as they are: they sign.
    """

    #: What there is to be told of.
    EVENTS: ClassVar = ("results", "presence", "gaps", "backlog")

    service = models.ForeignKey(Service, models.CASCADE, related_name="webhooks")
    public_id = models.CharField("id", max_length=32, unique=True, default=new_webhook_id, editable=False)
    url = models.CharField("URL", max_length=LONGEST_URL, validators=[check_url])
    results = models.BooleanField(default=False, help_text="What became of what the service published.")
    presence = models.BooleanField(default=False, help_text="Devices of the app that come, go, or change their state.")
    gaps = models.BooleanField(default=False, help_text="What of the app's streams can no longer be delivered.")
    backlog = models.BooleanField(default=False, help_text="Devices of the app that fall behind (soft limit).")
    secret = models.CharField(max_length=128, editable=False)
    #: The secret before, which signs as well until then.
    old_secret = models.CharField(max_length=128, blank=True, editable=False)
    old_secret_until = models.DateTimeField(null=True, editable=False)
    #: How far in the service's results feed deliveries have been made of it.
    position = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True, editable=False)
    disabled_reason = models.CharField(max_length=128, blank=True, editable=False)

    class Meta:
        ordering: ClassVar = ["service", "public_id"]

    def __str__(self) -> str:
        return self.public_id

    @property
    def events(self) -> list[str]:
        return [event for event in self.EVENTS if getattr(self, event)]


class Device(models.Model):
    """One installation of the app: one phone, one browser. `token_version` makes older tokens void."""

    app = models.ForeignKey(App, models.CASCADE, related_name="devices")
    name = models.CharField("device", max_length=128, validators=[NAME])
    user = models.CharField(max_length=128, blank=True, validators=[NAME])
    platform = models.CharField(max_length=64, blank=True)
    rooms = models.JSONField(
        default=list, blank=True, help_text='Rooms it may join, e.g. ["room:lobby", "room:live-*"].'
    )
    token_version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering: ClassVar = ["app", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["app", "name"], name="device_unique_in_app"),
        ]
        indexes: ClassVar = [
            # The devices of a user: Device.objects.filter(app=…, user=…)
            models.Index(fields=["app", "user"], name="device_by_user"),
        ]

    def __str__(self) -> str:
        return self.name


class Delivery(models.TextChoices):
    EVERY = "every", "every: each step, stored until processed"
    LATEST = "latest", "latest: the newest value per key"
    TRANSIENT = "transient", "transient: live and foreground only"


class Priority(models.TextChoices):
    LOW = "low", "low: the first to be shed"
    NORMAL = "normal"
    CONTROL = "control", "control: never shed"


class OnFailure(models.TextChoices):
    CONTINUE = "continue", "go on with the next message"
    STOP = "stop", "stop the stream"


class MessageType(models.Model):
    """A name with a delivery class. A change is followed by the next publish; stored messages keep their class."""

    app = models.ForeignKey(App, models.CASCADE, related_name="types")
    name = models.CharField(max_length=128, validators=[NAME])
    delivery = models.CharField(max_length=9, choices=Delivery, default=Delivery.EVERY)
    priority = models.CharField(
        max_length=7,
        choices=Priority,
        default=Priority.NORMAL,
        help_text="Which messages a room sheds first when more comes than the app's room rate.",
    )
    ttl_seconds = models.PositiveIntegerField(
        "time to live (s)",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_TTL)],
        help_text="Empty: the server's default.",
    )
    result_required = models.BooleanField(default=True)
    on_failure = models.CharField(max_length=8, choices=OnFailure, default=OnFailure.CONTINUE)
    report_to = models.ManyToManyField(
        Service, blank=True, related_name="+", help_text="Who hears the results. Empty: the service that published."
    )

    class Meta:
        ordering: ClassVar = ["app", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["app", "name"], name="type_unique_in_app"),
            models.CheckConstraint(condition=Q(delivery__in=Delivery.values), name="type_delivery_known"),
            models.CheckConstraint(condition=Q(priority__in=Priority.values), name="type_priority_known"),
            models.CheckConstraint(condition=Q(on_failure__in=OnFailure.values), name="type_on_failure_known"),
        ]

    def __str__(self) -> str:
        return self.name
