"""Who talks, and which change is of which kind: the part of the product that operators edit."""

from __future__ import annotations

import secrets
from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps_registry.names import NAME_PATTERN

#: Names of apps, services, devices and types: they stand in stream names, URLs and logs.
NAME = RegexValidator(
    NAME_PATTERN,
    "Letters, digits and _ . ~ @ + - only, beginning with a letter or digit, at most 128.",
)

LONGEST_TTL = 3650 * 86400


def new_signing_key() -> str:
    return secrets.token_urlsafe(48)


class App(models.Model):
    """A tenant: one product of one team. Nothing of one app is visible in another (P9)."""

    name = models.CharField(max_length=128, unique=True, validators=[NAME])
    signing_key = models.CharField(max_length=128, default=new_signing_key, editable=False)
    room_rate = models.PositiveIntegerField(
        "room rate (messages/s)",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1_000_000)],
        help_text="What a room takes a second; beyond, messages of low priority are shed first. Empty: unbounded.",
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
