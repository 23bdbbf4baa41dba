"""Bodies of services' requests: what members there are and what they may be. They decide nothing.

A value is of the kind the OpenAPI document says, and is not made into it: 5 is no text, "5" no number, 0 not false.
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps_registry.endpoints import LONGEST_URL
from apps_registry.models import LONGEST_TTL, MOST_ROOM_RATE, NAME, Delivery, OnFailure, Priority, Scope, Webhook
from messaging.log.membership import History
from messaging.protocol.names import MAX_OFFSET


class Text(serializers.CharField):
    """A JSON string as it came: a number is not turned into one, and nothing is trimmed off."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class Truth(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class HistoryBody(serializers.Serializer[Any]):
    """What a newcomer gets of a room's past. Not told: what the room says, else what is published from now on."""

    last = Whole(min_value=0, max_value=MAX_OFFSET, required=False, help_text="The last so many messages.")
    since = serializers.DateTimeField(required=False, help_text="What was published since then. Not beside `last`.")

    def validate(self, told: dict[str, Any]) -> dict[str, Any]:
        if len(told) > 1:
            raise serializers.ValidationError({"since": ["Say last or since."]})
        return told

    @staticmethod
    def read(told: dict[str, Any]) -> History | None:
        return History(**told) if told else None


class RoomBody(serializers.Serializer[Any]):
    history = HistoryBody(
        required=False, allow_null=True, help_text="What a newcomer gets of its past. Null or not told: nothing."
    )


class DeviceBody(serializers.Serializer[Any]):
    device = Text(max_length=128, validators=[NAME])
    user = Text(
        max_length=128,
        allow_blank=True,
        allow_null=True,
        required=False,
        validators=[NAME],
        help_text="Null or not told: nobody.",
    )
    platform = Text(max_length=64, allow_blank=True, required=False)
    streams = serializers.ListField(
        child=Text(max_length=160), max_length=1000, required=False, help_text="Rooms it is put into."
    )
    history = HistoryBody(required=False, help_text="Of the rooms in `streams` that it is new in.")
    rooms = serializers.ListField(
        child=Text(max_length=160),
        max_length=1000,
        required=False,
        allow_null=True,
        help_text="Rooms it may join besides, e.g. room:live-*. Not told: what it may now.",
    )

    def validate_user(self, told: str | None) -> str:
        return told or ""


class TypeChanges(serializers.Serializer[Any]):
    delivery = serializers.ChoiceField(choices=Delivery.values, required=False)
    priority = serializers.ChoiceField(
        choices=Priority.values, required=False, help_text="What a room sheds first when too much comes."
    )
    ttl = Whole(
        min_value=1,
        max_value=LONGEST_TTL,
        required=False,
        allow_null=True,
        help_text="Seconds. Null: the server's default.",
    )
    result_required = Truth(required=False)
    on_failure = serializers.ChoiceField(choices=OnFailure.values, required=False)
    report_to = serializers.ListField(
        child=Text(max_length=128),
        required=False,
        help_text="Services that hear the results. Empty: the one that published.",
    )


class TypeBody(TypeChanges):
    name = Text(max_length=128)
    delivery = serializers.ChoiceField(choices=Delivery.values)


class AppChanges(serializers.Serializer[Any]):
    room_rate = Whole(
        min_value=1,
        max_value=MOST_ROOM_RATE,
        required=False,
        allow_null=True,
        help_text="Messages a second that a room takes; beyond, the less important ones are shed. Null: unbounded.",
    )


class ServiceBody(serializers.Serializer[Any]):
    service = Text(max_length=128)


class KeyBody(serializers.Serializer[Any]):
    service = Text(max_length=128, required=False, help_text="Whose key it is. Not told: the calling service's.")
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.values), allow_empty=False)


class PurgeBody(serializers.Serializer[Any]):
    upto = Whole(min_value=1, max_value=MAX_OFFSET)


class WebhookChanges(serializers.Serializer[Any]):
    url = Text(
        max_length=LONGEST_URL, required=False, help_text="http or https, without user name, password and fragment."
    )
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=Webhook.EVENTS),
        min_length=1,
        max_length=len(Webhook.EVENTS),
        required=False,
        help_text="What it is told of.",
    )
    disabled = Truth(required=False, help_text="False: it goes on where it stopped, as far as the feed is kept.")


class WebhookBody(serializers.Serializer[Any]):
    url = Text(max_length=LONGEST_URL, help_text="http or https, without user name, password and fragment.")
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=Webhook.EVENTS),
        min_length=1,
        max_length=len(Webhook.EVENTS),
        help_text="What it is told of.",
    )
    after = Whole(
        min_value=0,
        max_value=MAX_OFFSET,
        required=False,
        allow_null=True,
        help_text="Results from behind this position of the feed. Not told: from now on.",
    )
