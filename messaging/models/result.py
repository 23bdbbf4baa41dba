from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps_registry.models import Device, Service
from messaging.models.stream import Stream


class ResultStatus(models.TextChoices):
    PROCESSED = "processed"
    FAILED = "failed"
    REJECTED = "rejected"
    GAP = "gap"


class Feed(models.Model):
    """The counter of a service's results feed; its row is the lock that orders the feed."""

    service = models.OneToOneField(Service, models.CASCADE, primary_key=True, related_name="feed")
    head = models.BigIntegerField(default=0)


class Result(models.Model):
    """What a device's app made of a range of messages, for one service: one row per run of equal results.

    Every offset stands in one row per service that hears of it, never in two (P5).
    """

    #: Null: nobody is to hear of it (published in process without a service).
    service = models.ForeignKey(Service, models.CASCADE, null=True, related_name="results", db_index=False)
    #: Place in the service's feed, dense from 1: a sequence would let a reader see 7 before 6 exists.
    position = models.BigIntegerField(null=True)
    device = models.ForeignKey(Device, models.CASCADE, related_name="results", db_index=False)
    stream = models.ForeignKey(Stream, models.CASCADE, related_name="results", db_index=False)
    from_offset = models.BigIntegerField("from")
    upto = models.BigIntegerField()
    status = models.CharField(max_length=9, choices=ResultStatus)
    code = models.CharField(max_length=128, blank=True)
    detail = models.CharField(max_length=1024, blank=True)
    #: What the handler returned, as JSON text; only on rows of one message.
    value = models.TextField(null=True)
    reported_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            # Serves the feed: WHERE service = … AND position > … ORDER BY position
            models.UniqueConstraint(fields=["service", "position"], name="result_position_unique"),
            models.CheckConstraint(
                condition=Q(from_offset__gte=1) & Q(upto__gte=models.F("from_offset")), name="result_range_in_order"
            ),
            models.CheckConstraint(condition=Q(status__in=ResultStatus.values), name="result_status_known"),
        ]
        indexes: ClassVar = [
            # "Where is message X for device Y" and the device's page in the admin
            models.Index(fields=["stream", "device", "upto"], name="result_by_message"),
            # Retention: WHERE reported_at < …
            models.Index(fields=["reported_at"], name="result_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {self.stream_id} {self.from_offset}–{self.upto} {self.status}"
