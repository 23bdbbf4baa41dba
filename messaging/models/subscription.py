from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from apps_registry.models import Device
from messaging.models.stream import Stream


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    def for_device(self, device: Device) -> SubscriptionQuerySet:
        return self.filter(device=device)

    def with_backlog(self) -> SubscriptionQuerySet:
        """Adds `backlog`: how many messages of the stream the device has not processed."""
        return self.annotate(backlog=F("stream__head") - F("processed"))

    def pending(self) -> SubscriptionQuerySet:
        """Only those with something the device has not processed."""
        return self.filter(stream__head__gt=F("processed"))

    def stopped(self) -> SubscriptionQuerySet:
        """Only those that wait at a failure which is still stored; a purged one is told as a gap, and is no stop."""
        return self.filter(stopped_at__isnull=False, stopped_at__gte=F("stream__tail"))


class Subscription(models.Model):
    """A device's cursors in a stream. Backlog = head − processed."""

    device = models.ForeignKey(Device, models.CASCADE, related_name="subscriptions", db_index=False)
    stream = models.ForeignKey(Stream, models.CASCADE, related_name="subscriptions", db_index=False)
    #: Handled by the app, said so by a result.
    processed = models.BigIntegerField(default=0)
    #: Stored safely by the client.
    received = models.BigIntegerField(default=0)
    #: Version of the newest `latest` value the client has.
    latest_received = models.BigIntegerField(default=0)
    #: The head when it joined: messages up to here were never meant for it.
    joined_offset = models.BigIntegerField(default=0)
    #: The offset the app failed on, where its type says `stop`: the stream waits before it. Null: it does not wait.
    stopped_at = models.BigIntegerField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["device", "stream"]
        constraints: ClassVar = [
            # Serves the reads by device: WHERE device IN (…)
            models.UniqueConstraint(fields=["device", "stream"], name="subscription_unique"),
            models.CheckConstraint(
                condition=Q(processed__gte=F("joined_offset")) & Q(received__gte=F("processed")),
                name="subscription_cursors_in_order",
            ),
            models.CheckConstraint(
                condition=Q(stopped_at__isnull=True) | Q(stopped_at__gt=F("processed")),
                name="subscription_stopped_ahead",
            ),
        ]
        indexes: ClassVar = [
            # Cleanup: the smallest processed of a stream
            models.Index(fields=["stream", "processed"], name="subscription_slowest"),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} in {self.stream_id}: {self.processed}"
