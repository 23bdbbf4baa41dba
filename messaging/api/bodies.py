"""Bodies of services' requests: what members there are and what they may be. They decide nothing."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps_registry.models import LONGEST_TTL, Delivery, OnFailure, Priority
from messaging.protocol.names import MAX_OFFSET


class DeviceBody(serializers.Serializer[Any]):
    device = serializers.CharField(max_length=128)
    user = serializers.CharField(max_length=128, allow_blank=True, required=False)
    platform = serializers.CharField(max_length=64, allow_blank=True, required=False)
    streams = serializers.ListField(
        child=serializers.CharField(max_length=160), max_length=1000, required=False, help_text="Rooms it is put into."
    )
    rooms = serializers.ListField(
        child=serializers.CharField(max_length=160),
        max_length=1000,
        required=False,
        allow_null=True,
        help_text="Rooms it may join besides, e.g. room:live-*. Not told: what it may now.",
    )


class TypeChanges(serializers.Serializer[Any]):
    delivery = serializers.ChoiceField(choices=Delivery.values, required=False)
    priority = serializers.ChoiceField(
        choices=Priority.values, required=False, help_text="What a room sheds first when too much comes."
    )
    ttl = serializers.IntegerField(
        min_value=1,
        max_value=LONGEST_TTL,
        required=False,
        allow_null=True,
        help_text="Seconds. Null: the server's default.",
    )
    result_required = serializers.BooleanField(required=False)
    on_failure = serializers.ChoiceField(choices=OnFailure.values, required=False)
    report_to = serializers.ListField(
        child=serializers.CharField(max_length=128),
        required=False,
        help_text="Services that hear the results. Empty: the one that published.",
    )


class TypeBody(TypeChanges):
    name = serializers.CharField(max_length=128)
    delivery = serializers.ChoiceField(choices=Delivery.values)


class PurgeBody(serializers.Serializer[Any]):
    upto = serializers.IntegerField(min_value=1, max_value=MAX_OFFSET)
