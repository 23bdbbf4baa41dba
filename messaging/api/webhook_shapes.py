"""What is said of webhooks and their deliveries: see shapes.py."""

from __future__ import annotations

from rest_framework import serializers as s

from apps_registry.models import Webhook
from messaging.api.shapes import Shape
from messaging.models import DeliveryState

#: What a webhook is posted.
TOLD = [*Webhook.EVENTS, "ping"]


class WebhookAbout(Shape):
    id = s.CharField()
    url = s.CharField()
    events = s.ListField(child=s.ChoiceField(choices=Webhook.EVENTS))
    position = s.IntegerField(help_text="How far in the results feed deliveries have been made.")
    open = s.IntegerField(help_text="Deliveries that are not through.")
    dead = s.IntegerField(help_text="Dead letters: deliveries given up.")
    created_at = s.DateTimeField()
    disabled_at = s.DateTimeField(allow_null=True)
    disabled_reason = s.CharField(allow_blank=True)


class WebhookCreated(WebhookAbout):
    secret = s.CharField(help_text="Shown only now.")


class WebhookList(Shape):
    items = WebhookAbout(many=True)
    next = s.CharField(allow_null=True)


class FreshSecret(Shape):
    id = s.CharField()
    secret = s.CharField(help_text="Shown only now.")
    old_secret_until = s.DateTimeField(help_text="Until then the secret before signs as well.")


class DeliveryAbout(Shape):
    id = s.CharField(help_text="The header webhook-id, the same at each attempt.")
    event = s.ChoiceField(choices=TOLD)
    state = s.ChoiceField(choices=DeliveryState.values)
    attempts = s.IntegerField()
    created_at = s.DateTimeField()
    next_attempt_at = s.DateTimeField(allow_null=True, help_text="Null unless it is open.")
    delivered_at = s.DateTimeField(allow_null=True)
    failed_at = s.DateTimeField(allow_null=True)
    last_status = s.IntegerField(allow_null=True)
    last_error = s.CharField(allow_blank=True)


class DeliveryList(Shape):
    items = DeliveryAbout(many=True)
    next = s.CharField(allow_null=True)
