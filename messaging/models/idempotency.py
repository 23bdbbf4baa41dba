from __future__ import annotations

from typing import ClassVar

from django.db import models

from apps_registry.models import Service


class IdempotentAnswer(models.Model):
    """The stored answer to a request with an Idempotency-Key: the repeat gets it, another body is refused."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=255)
    digest = models.CharField(max_length=64)
    answer = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service", "key"], name="idempotency_key_unique"),
        ]
        indexes: ClassVar = [
            # Retention: WHERE created_at < …
            models.Index(fields=["created_at"], name="idempotency_by_age"),
        ]
