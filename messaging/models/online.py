from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from messaging.models.stream import Stream


class RoomOnline(models.Model):
    """How many of a room's members are on line, as it was published last, and when it is to be counted again."""

    stream = models.OneToOneField(Stream, models.CASCADE, primary_key=True, related_name="room_online")
    #: Null: nothing has been published yet.
    online = models.BigIntegerField(null=True)
    #: Null: nobody has come or gone since it was counted.
    due_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            # The round: WHERE due_at <= now ORDER BY due_at LIMIT …
            models.Index(fields=["due_at"], condition=~Q(due_at=None), name="room_online_due"),
        ]

    def __str__(self) -> str:
        return f"{self.stream_id}: {self.online}"
