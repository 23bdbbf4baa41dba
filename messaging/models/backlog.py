"""The backlog by device, as operators read it: who misses what, since when, and why."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Case, Exists, F, OuterRef, Q, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce, Greatest, Now

from apps_registry.models import Device
from messaging.models.message import Message
from messaging.models.presence import PresenceState, Resume
from messaging.models.stream import StreamKind
from messaging.models.subscription import Subscription, SubscriptionQuerySet


class Why(models.TextChoices):
    """What a device's backlog waits for."""

    NOTHING = "", ""
    REVOKED = "revoked", "revoked"
    STOPPED = "stopped", "stopped at a failure"
    NEVER = "never", "has never connected"
    POLLS = "polls", "polls over HTTP"
    AWAY = "away", "away"
    BACKGROUND = "background", "in the background"
    RECEIVING = "receiving", "not received yet"
    PROCESSING = "processing", "received, not processed"


class DeviceBacklogQuerySet(models.QuerySet["DeviceBacklog"]):
    def with_presence(self) -> DeviceBacklogQuerySet:
        """Adds `state` (offline where it never connected), `last_seen`, and `read_at`: now, by the database's clock."""
        return self.annotate(
            state=Coalesce(F("presence__state"), Value(PresenceState.OFFLINE)),
            last_seen=F("presence__last_seen"),
            read_at=Now(),
        )

    def with_backlog(self) -> DeviceBacklogQuerySet:
        """Adds, over all streams of the device, `pending`, `not_received`, `in_gaps` (of the pending: no longer
        stored), `oldest_pending_at`, and `why`. All can be sorted and filtered by; one query.
        """
        return self.with_presence().annotate(
            pending=_over_streams(F("stream__head") - F("processed")),
            not_received=_over_streams(F("stream__head") - F("received")),
            in_gaps=_over_streams(Greatest(F("stream__tail") - 1 - F("processed"), 0)),
            oldest_pending_at=Subquery(
                with_oldest(Subscription.objects.filter(device=OuterRef("pk")).pending())
                .order_by(F("oldest_pending_at").asc(nulls_last=True))
                .values("oldest_pending_at")[:1]
            ),
            why=Case(
                When(pending=0, then=Value(Why.NOTHING)),
                When(revoked_at__isnull=False, then=Value(Why.REVOKED)),
                When(Exists(Subscription.objects.filter(device=OuterRef("pk")).stopped()), then=Value(Why.STOPPED)),
                When(_spoke_only_http(), then=Value(Why.POLLS)),
                When(last_seen=None, then=Value(Why.NEVER)),
                When(state=PresenceState.OFFLINE, then=Value(Why.AWAY)),
                When(state=PresenceState.BACKGROUND, then=Value(Why.BACKGROUND)),
                When(not_received__gt=0, then=Value(Why.RECEIVING)),
                default=Value(Why.PROCESSING),
            ),
        )

    def with_last_return(self) -> DeviceBacklogQuerySet:
        """Adds `last_outcome`: how its newest return went; None without one."""
        newest = Resume.objects.filter(device=OuterRef("pk")).order_by("-started_at", "-id")
        return self.annotate(last_outcome=Subquery(newest.values("outcome")[:1]))

    def with_own_stream(self) -> DeviceBacklogQuerySet:
        """Adds what a purge of `device:NAME` would remove: `own_stored`, and of these `own_pending` with a gap."""
        own = Subscription.objects.filter(device=OuterRef("pk"), stream__kind=StreamKind.DEVICE)
        head, before = F("stream__head"), F("stream__tail") - 1
        return self.annotate(
            own_stored=_first(own.annotate(count=head - before)),
            own_pending=_first(own.annotate(count=head - Greatest(F("processed"), before))),
        )


class DeviceBacklog(Device):
    """A device, read by its backlog. Nothing is edited here: operators act through `messaging.operations`."""

    objects = DeviceBacklogQuerySet.as_manager()

    class Meta:
        proxy = True
        verbose_name = "device backlog"
        default_permissions = ("view",)
        permissions: ClassVar = [("operate_devicebacklog", "Can disconnect, purge, revoke and give new tokens")]


def with_oldest(subscriptions: SubscriptionQuerySet) -> SubscriptionQuerySet:
    """Adds `oldest_pending` and `oldest_pending_at`: offset and time of the first stored message not processed.

    A seek in the index (stream, offset) per subscription.
    """
    after = Message.objects.filter(stream=OuterRef("stream"), offset__gt=OuterRef("processed")).order_by("offset")
    return subscriptions.annotate(
        oldest_pending=Subquery(after.values("offset")[:1]),
        oldest_pending_at=Subquery(after.values("published_at")[:1]),
    )


def _spoke_only_http() -> Q:
    """Devices that never opened a socket, and were heard of all the same: by a pull that waits, or what they reported.

    LIMIT: a plain pull writes nothing, so one that has only pulled counts as never heard of.
    """
    reported = Subscription.objects.filter(
        Q(received__gt=F("joined_offset")) | Q(latest_received__gt=0), device=OuterRef("pk")
    )
    return Q(presence__connected_at=None) & (Q(presence__last_seen__isnull=False) | Q(Exists(reported)))


def _over_streams(count: models.expressions.Combinable) -> Coalesce:
    """The sum of a count over the streams of the device."""
    mine = Subscription.objects.filter(device=OuterRef("pk")).order_by().values("device")
    return Coalesce(
        Subquery(mine.annotate(total=Sum(count)).values("total"), output_field=models.BigIntegerField()), Value(0)
    )


def _first(counted: SubscriptionQuerySet) -> Coalesce:
    return Coalesce(Subquery(counted.values("count")[:1], output_field=models.BigIntegerField()), 0)
