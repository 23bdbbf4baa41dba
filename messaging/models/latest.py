from __future__ import annotations

from typing import ClassVar

from django.db import models

from apps_registry.models import MessageType, Service
from messaging.models.stream import Stream
from messaging.models.subscription import Subscription


class LatestValue(models.Model):
    """The newest value of a key of a `latest` type."""

    stream = models.ForeignKey(Stream, models.CASCADE, related_name="latest_values", db_index=False)
    type = models.ForeignKey(MessageType, models.PROTECT, related_name="+")
    service = models.ForeignKey(Service, models.PROTECT, null=True, related_name="+", db_index=False)
    key = models.CharField(max_length=128, blank=True)
    #: From the stream's own counter: what a device acknowledges.
    version = models.BigIntegerField()
    #: How often this key was updated.
    revision = models.BigIntegerField(default=1)
    published_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    payload = models.TextField()
    #: By how many bytes the last update made it larger (`log/storage.py`): an upsert cannot say it otherwise.
    grown = models.BigIntegerField(default=0, db_default=0, editable=False)

    class Meta:
        ordering: ClassVar = ["stream", "version"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["stream", "type", "key"], name="latest_key_unique"),
            # Serves the return: WHERE stream = … AND version > … ORDER BY version
            models.UniqueConstraint(fields=["stream", "version"], name="latest_version_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.stream_id} {self.type_id} {self.key!r} v{self.version}"


class LatestReceipt(models.Model):
    """Which revision of a key a device has acknowledged: what its next value stands for is the difference."""

    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="latest_receipts", db_index=False)
    value = models.ForeignKey(LatestValue, models.CASCADE, related_name="+")
    revision = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subscription", "value"], name="latest_receipt_unique"),
        ]
