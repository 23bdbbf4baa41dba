from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps_registry.models import Device, Webhook
from messaging.models.subscription import Subscription


class DeliveryState(models.TextChoices):
    """What became of a delivery so far."""

    OPEN = "open"
    DELIVERED = "delivered"
    DEAD = "dead"


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    def in_state(self, state: str) -> WebhookDeliveryQuerySet:
        return self.filter(
            {
                DeliveryState.OPEN: Q(delivered_at=None, failed_at=None),
                DeliveryState.DELIVERED: Q(delivered_at__isnull=False),
                DeliveryState.DEAD: Q(failed_at__isnull=False),
            }[DeliveryState(state)]
        )


class WebhookDelivery(models.Model):
    """One POST to a webhook: tried until it is answered with 2xx, or dead when the schedule is through."""

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries", db_index=False)
    #: Of the POST, the same whenever it is tried again: receivers know a repeat by it. Sorts by time.
    message_id = models.CharField(max_length=40, unique=True)
    event = models.CharField(max_length=8)
    created_at = models.DateTimeField()
    #: How often it was begun. Counted when a worker claims it, so that one that kills its worker ends, too.
    attempts = models.PositiveIntegerField(default=0)
    #: While a worker has it: when others may take it for lost.
    next_attempt_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    last_status = models.PositiveIntegerField(null=True)
    last_error = models.CharField(max_length=128, blank=True)
    #: The JSON text that is sent and signed.
    body = models.TextField()

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name = "webhook delivery"
        verbose_name_plural = "webhook deliveries"
        default_permissions = ("view",)
        permissions: ClassVar = [("operate_webhookdelivery", "Can send again and discard")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(delivered_at=None) | Q(failed_at=None), name="delivery_delivered_or_dead"
            ),
        ]
        indexes: ClassVar = [
            # The worker: WHERE webhook = … AND open AND next_attempt_at <= now ORDER BY next_attempt_at
            models.Index(
                fields=["webhook", "next_attempt_at"],
                condition=Q(delivered_at=None, failed_at=None),
                name="delivery_due",
            ),
            # The lists of one webhook, newest first
            models.Index(fields=["webhook", "message_id"], name="delivery_of_webhook"),
            # Cleaning, and the dead-letter list
            models.Index(fields=["failed_at"], condition=Q(failed_at__isnull=False), name="delivery_dead"),
            models.Index(fields=["delivered_at"], condition=Q(delivered_at__isnull=False), name="delivery_done"),
        ]

    def __str__(self) -> str:
        return self.message_id

    @property
    def state(self) -> DeliveryState:
        if self.delivered_at:
            return DeliveryState.DELIVERED
        return DeliveryState.DEAD if self.failed_at else DeliveryState.OPEN


class WebhookEvent(models.Model):
    """A gap or a backlog that a webhook is to hear of: written with the fact, removed when a delivery is made of it.

    Without a constraint in the database: its check would let a webhook that is being deleted fail the fact.
    """

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    event = models.CharField(max_length=8)
    #: JSON text.
    item = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            # The worker: WHERE webhook = … AND event = … ORDER BY id
            models.Index(fields=["webhook", "event", "id"], name="webhook_event_order"),
            # Cleaning
            models.Index(fields=["created_at"], name="webhook_event_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.webhook_id} {self.event}"


class WebhookPresence(models.Model):
    """A device whose presence a webhook is to hear of; what it is then stands in `Presence`. One row however often the
    device comes and goes while nobody takes it.
    """

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    device = models.ForeignKey(Device, models.CASCADE, related_name="+")
    noted_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["webhook", "device"], name="webhook_presence_unique"),
        ]
        indexes: ClassVar = [
            # The worker: WHERE webhook = … ORDER BY noted_at
            models.Index(fields=["webhook", "noted_at"], name="webhook_presence_order"),
        ]

    def __str__(self) -> str:
        return f"{self.webhook_id} {self.device_id}"


class FallenBehind(models.Model):
    """A device that is above the soft limit in a stream, since when. Gone when it is below half of it."""

    # No constraint in the database: leaving a stream must not wait for the round that looks.
    subscription = models.OneToOneField(
        Subscription, models.CASCADE, primary_key=True, related_name="+", db_constraint=False
    )
    since = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.subscription_id} since {self.since:%H:%M:%S}"
