from __future__ import annotations

import secrets
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps_registry.models import App


def new_epoch() -> str:
    """A random name for one unbroken history of a stream; it changes only when history was lost or reset."""
    return secrets.token_hex(8)


class StreamKind(models.TextChoices):
    DEVICE = "device"
    USER = "user"
    ROOM = "room"


class Stream(models.Model):
    """An ordered log inside an app. Its row is the lock that orders the log: whoever appends holds it."""

    app = models.ForeignKey(App, models.CASCADE, related_name="streams")
    kind = models.CharField(max_length=6, choices=StreamKind, editable=False)
    name = models.CharField("stream", max_length=160)
    epoch = models.CharField(max_length=16, default=new_epoch, editable=False)
    #: Offset of the newest message; 0 while there was none.
    head = models.BigIntegerField(default=0)
    #: First offset still stored: head + 1 when nothing is.
    tail = models.BigIntegerField(default=1)
    #: Version of the newest `latest` value.
    version = models.BigIntegerField(default=0)
    #: A room under its app's rate: by when (Unix seconds, the database's clock) it has sent what it took.
    busy_until = models.FloatField(default=0, editable=False)
    #: Messages that were shed: refused a place under the rate.
    shed = models.BigIntegerField(default=0, editable=False)
    #: What a newcomer gets of a room's past where nobody says it for this one: the last so many, or since a moment.
    history_last = models.BigIntegerField(null=True, blank=True)
    history_since = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["app", "name"]
        constraints: ClassVar = [
            # Serves the writer's look-up of streams by name as well.
            models.UniqueConstraint(fields=["app", "name"], name="stream_unique_in_app"),
            models.CheckConstraint(condition=Q(head__gte=0), name="stream_head_not_negative"),
            models.CheckConstraint(
                condition=Q(tail__gte=1) & Q(tail__lte=models.F("head") + 1), name="stream_tail_in_log"
            ),
            models.CheckConstraint(
                condition=Q(history_last=None) | Q(history_since=None), name="stream_history_one_way"
            ),
            models.CheckConstraint(condition=Q(kind__in=StreamKind.values), name="stream_kind_known"),
        ]

    def __str__(self) -> str:
        return self.name
