"""What is said of an app and what it is made of, types, services and keys: see shapes.py."""

from __future__ import annotations

from rest_framework import serializers as s

from apps_registry.models import Delivery, OnFailure, Priority, Scope
from messaging.api.shapes import Shape


class TypeAbout(Shape):
    name = s.CharField()
    delivery = s.ChoiceField(choices=Delivery.values)
    priority = s.ChoiceField(choices=Priority.values)
    ttl = s.IntegerField(allow_null=True)
    result_required = s.BooleanField()
    on_failure = s.ChoiceField(choices=OnFailure.values)
    report_to = s.ListField(child=s.CharField())


class TypeList(Shape):
    items = TypeAbout(many=True)
    next = s.CharField(allow_null=True)


class ServiceAbout(Shape):
    service = s.CharField()
    keys = s.IntegerField(help_text="Keys that are not revoked.")
    created_at = s.DateTimeField()


class ServiceList(Shape):
    items = ServiceAbout(many=True)
    next = s.CharField(allow_null=True)


class KeyAbout(Shape):
    prefix = s.CharField()
    service = s.CharField()
    scopes = s.ListField(child=s.ChoiceField(choices=Scope.values))
    created_at = s.DateTimeField()
    last_used_at = s.DateTimeField(allow_null=True, help_text="To the minute.")
    revoked_at = s.DateTimeField(allow_null=True)


class KeyList(Shape):
    items = KeyAbout(many=True)
    next = s.CharField(allow_null=True)


class NewKey(KeyAbout):
    key = s.CharField(help_text="Shown only now.")


class AppLimits(Shape):
    publish = s.IntegerField(help_text="Messages times streams a second, per key.")
    bytes = s.IntegerField(help_text="Of `data`, times streams, a second.")
    read = s.IntegerField(help_text="Requests a second, per key.")
    manage = s.IntegerField(help_text="Requests a second, per key.")
    device = s.IntegerField(help_text="Requests a second, per device.")
    connections = s.IntegerField(help_text="Open sockets.")
    storage = s.IntegerField(allow_null=True, help_text="Bytes that may be stored. Null: unbounded.")


class AppAbout(Shape):
    app = s.CharField()
    room_rate = s.IntegerField(allow_null=True)
    stored = s.IntegerField(help_text="Bytes, as of the last second.")
    limits = AppLimits()
    created_at = s.DateTimeField()
