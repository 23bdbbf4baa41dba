from __future__ import annotations

from typing import ClassVar

from django.db import models

from messaging.models.stream import Stream


class RoomOnline(models.Model):
    """How many of a room's members are on line, as it was published last. Written under the stream's lock only."""

    stream = models.OneToOneField(Stream, models.CASCADE, primary_key=True, related_name="room_online")
    online = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.stream_id}: {self.online}"


class OnlineDue(models.Model):
    """Somebody came to a room or went: from this moment on it is to be counted again. Removed by the count.

    Rows are only added, one per event: marks of several processes never wait for each other. Without a constraint in
    the database, since its check would wait for whoever publishes into the room.
    """

    stream = models.ForeignKey(Stream, models.CASCADE, related_name="+", db_constraint=False)
    due_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            # The round: WHERE due_at <= now
            models.Index(fields=["due_at"], name="online_due"),
        ]

    def __str__(self) -> str:
        return f"{self.stream_id}: {self.due_at:%H:%M:%S}"
