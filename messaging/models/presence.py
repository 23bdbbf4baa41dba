from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.db import models
from django.db.models import Case, Q, When

from apps_registry.models import Device


class PresenceState(models.TextChoices):
    FOREGROUND = "foreground"
    BACKGROUND = "background"
    OFFLINE = "offline"


class PresenceQuerySet(models.QuerySet["Presence"]):
    def changes(self, *, app_id: int, after: tuple[datetime, int]) -> Any:
        """What an app's services are told, behind a place (told_at, device id): rows as of `as_told`."""
        moment, device_id = after
        behind = Q(told_at=moment, device__gt=device_id) | Q(told_at__gt=moment)
        return self.filter(behind, told_at__gte=moment, device__app=app_id).as_told()

    def as_told(self) -> Any:
        """(device id, device, told_state, since when, told_at) in the order in which services are told of them."""
        # While `offline` is what was told, the device is: it is told of at once when it comes.
        since = Case(When(told_state=PresenceState.OFFLINE, then="changed_at"), default="told_at")
        rows = self.order_by("told_at", "device")
        return rows.values_list("device_id", "device__name", "told_state", since, "told_at")


class Presence(models.Model):
    """Where a device is: a lease renewed by what it sends, cleared only by the generation that set it."""

    device = models.OneToOneField(Device, models.CASCADE, primary_key=True, related_name="presence")
    state = models.CharField(max_length=10, choices=PresenceState, default=PresenceState.OFFLINE)
    #: The client's own counter: an older notice changes nothing.
    state_seq = models.BigIntegerField(default=0)
    #: Counts the connections: the newest wins.
    generation = models.BigIntegerField(default=0)
    #: The process that holds the connection; empty when there is none.
    node = models.CharField(max_length=64, blank=True)
    last_seen = models.DateTimeField(null=True)
    connected_at = models.DateTimeField(null=True)
    #: When the state became what it is.
    changed_at = models.DateTimeField(null=True)
    #: What services were told last (`log/whereabouts.py`), and when: they hear of `offline` after the leave delay.
    told_state = models.CharField(
        max_length=10, choices=PresenceState, default=PresenceState.OFFLINE, db_default=PresenceState.OFFLINE
    )
    told_at = models.DateTimeField(null=True)

    objects = PresenceQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(state__in=PresenceState.values), name="presence_state_known"),
            models.CheckConstraint(condition=Q(told_state__in=PresenceState.values), name="presence_told_state_known"),
        ]
        indexes: ClassVar = [
            # Expiry of leases: WHERE NOT (state = 'offline') AND last_seen < …
            models.Index(fields=["last_seen"], condition=~Q(state="offline"), name="presence_lease"),
            # Services that listen: WHERE told_at > … ORDER BY told_at
            models.Index(fields=["told_at"], name="presence_told"),
            # The round: who went and was not told of
            models.Index(
                fields=["last_seen"], condition=Q(state="offline") & ~Q(told_state="offline"), name="presence_untold"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {self.state}"


class ResumeOutcome(models.TextChoices):
    RUNNING = "running"
    COMPLETE = "complete"
    INTERRUPTED = "interrupted"


class Resume(models.Model):
    """One return of a device, by connect or foreground notice: what it had missed and how it got it."""

    device = models.ForeignKey(Device, models.CASCADE, related_name="resumes", db_index=False)
    generation = models.BigIntegerField()
    mode = models.CharField(max_length=6)
    cause = models.CharField(max_length=7, choices=[("connect", "connect"), ("notice", "foreground notice")])
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    #: Messages not processed up to the cut when it returned.
    pending = models.BigIntegerField(default=0)
    #: Pages pulled over HTTP from the process that holds the connection.
    pages = models.PositiveIntegerField(default=0)
    #: {stream: cut}
    cuts = models.JSONField(default=dict)
    outcome = models.CharField(max_length=11, choices=ResumeOutcome, default=ResumeOutcome.RUNNING)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(outcome__in=ResumeOutcome.values), name="resume_outcome_known"),
        ]
        indexes: ClassVar = [
            # The device's timeline: WHERE device = … ORDER BY started_at DESC
            models.Index(fields=["device", "-started_at"], name="resume_timeline"),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {self.started_at:%H:%M:%S} {self.mode} {self.outcome}"
