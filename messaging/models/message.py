from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps_registry.models import MessageType, Service
from messaging.models.stream import Stream


class Message(models.Model):
    """One `every` message, stored once however many devices read it.

    `payload` is the JSON text that goes on the wire. It stands last in the row, so that reading who published
    a range does not touch the pages of large payloads.
    """

    stream = models.ForeignKey(Stream, models.CASCADE, related_name="messages", db_index=False)
    offset = models.BigIntegerField()
    type = models.ForeignKey(MessageType, models.PROTECT, related_name="+")
    #: Null: published in process by Django code that named no service.
    service = models.ForeignKey(Service, models.PROTECT, null=True, related_name="+", db_index=False)
    published_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    #: The publisher's own id, unique in the stream: a repeat gets the same offset.
    dedup_id = models.CharField(max_length=128, null=True)
    payload = models.TextField()

    class Meta:
        ordering: ClassVar = ["stream", "offset"]
        constraints: ClassVar = [
            # Serves every read of a range of a stream: WHERE stream = … AND offset BETWEEN … ORDER BY offset
            models.UniqueConstraint(fields=["stream", "offset"], name="message_offset_unique"),
            models.UniqueConstraint(
                fields=["stream", "dedup_id"], condition=Q(dedup_id__isnull=False), name="message_dedup_unique"
            ),
            models.CheckConstraint(condition=Q(offset__gte=1), name="message_offset_from_one"),
        ]
        indexes: ClassVar = [
            # Retention: WHERE expires_at <= now ORDER BY expires_at LIMIT …
            models.Index(fields=["expires_at"], name="message_by_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.stream_id}/{self.offset}"


class GapReason(models.TextChoices):
    EXPIRED = "expired"
    OVERFLOW = "overflow"
    PURGED = "purged"
    RESET = "reset"
    SHED = "shed"


class Gap(models.Model):
    """A range of a stream that can no longer be delivered, and why (P7: never silent)."""

    stream = models.ForeignKey(Stream, models.CASCADE, related_name="gaps", db_index=False)
    from_offset = models.BigIntegerField("from")
    to_offset = models.BigIntegerField("to")
    reason = models.CharField(max_length=8, choices=GapReason)
    created_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(from_offset__gte=1) & Q(to_offset__gte=models.F("from_offset")), name="gap_range_in_order"
            ),
            models.CheckConstraint(condition=Q(reason__in=GapReason.values), name="gap_reason_known"),
        ]
        indexes: ClassVar = [
            # Beside every range read: WHERE stream = … AND to_offset >= …
            models.Index(fields=["stream", "to_offset"], name="gap_by_stream_end"),
        ]

    def __str__(self) -> str:
        return f"{self.stream_id} {self.from_offset}–{self.to_offset} {self.reason}"
