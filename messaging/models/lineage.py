from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.models.stream import new_epoch


class Lineage(models.Model):
    """Where this database's history comes from; one row. What it means: messaging/log/lineage.py."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    #: Names the installation between processes; never changes.
    installation = models.CharField(max_length=16, default=new_epoch, editable=False)
    #: SQLite: the nonce that the side file has too. PostgreSQL: system identifier and timeline.
    origin = models.CharField(max_length=64, blank=True)
    #: SQLite: messages and values ever stored.
    stored = models.BigIntegerField(default=0)
    #: How often the history turned out to be another one, and when it did last.
    resets = models.PositiveIntegerField(default=0)
    since = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1), name="lineage_is_one_row"),
        ]

    def __str__(self) -> str:
        return f"{self.installation} {self.origin}"
