"""What bodies and answers look like, for the description of the API. Nothing passes through these on its way.

Of devices and streams under management: managed_shapes.py; of apps and webhooks: account_shapes.py, webhook_shapes.py.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers as s

from apps_registry.models import LONGEST_TTL
from messaging.models import GapReason, PresenceState, ResultStatus

#: What a device may say; what it is told has more (settings name the two apart).
STATES = ["foreground", "background"]
FAILURES = ["failed", "rejected"]
#: How far a message has got on its way to one device.
WHEREABOUTS = ["stored", "pushed", "received", *ResultStatus.values]


class Shape(s.Serializer[Any]):
    pass


class Problem(Shape):
    """RFC 9457. Some codes have further members beside these: `errors` by member, or a stream's valid position."""

    type = s.CharField()
    title = s.CharField()
    status = s.IntegerField()
    detail = s.CharField()
    code = s.CharField(help_text="For programs: stable.")
    temporary = s.BooleanField(help_text="The same request may succeed later.")


# --- Devices' side ---------------------------------------------------------------------------------------------------


class Standing(Shape):
    epoch = s.CharField()
    processed = s.IntegerField()
    cut = s.IntegerField(help_text="How far this pull goes: the head when it began, or `until`.")
    head = s.IntegerField()
    tail = s.IntegerField()
    latest_received = s.IntegerField()
    complete = s.BooleanField(help_text="With this page the stream is told up to its cut.")
    closed = s.BooleanField(required=False)


class MessageItem(Shape):
    stream = s.CharField()
    offset = s.IntegerField()
    name = s.CharField()
    time = s.DateTimeField()
    service = s.CharField(allow_null=True)
    on_failure = s.CharField(required=False, help_text="`stop`: the stream waits where a handler fails on it.")
    data = s.JSONField()  # type: ignore[assignment]


class LatestItem(Shape):
    stream = s.CharField()
    name = s.CharField()
    key = s.CharField(allow_blank=True)
    version = s.IntegerField()
    coalesced = s.IntegerField(help_text="How many updates of this key it stands for.")
    time = s.DateTimeField()
    service = s.CharField(allow_null=True)
    data = s.JSONField()  # type: ignore[assignment]


class GapItem(Shape):
    stream = s.CharField()
    to = s.IntegerField()
    reason = s.ChoiceField(choices=GapReason.values)

    def get_fields(self) -> dict[str, s.Field[Any, Any, Any, Any]]:
        # `from` is a word of Python.
        return {"from": s.IntegerField(), **super().get_fields()}


class PendingPage(Shape):
    streams = s.DictField(child=Standing())
    messages = MessageItem(many=True)
    latest = LatestItem(many=True, help_text="On the first page: the newest value per changed key.")
    gaps = GapItem(many=True)
    next = s.CharField(allow_null=True, help_text="The cursor of the next page.")


class FailedOffset(Shape):
    offset = s.IntegerField(min_value=1)
    status = s.ChoiceField(choices=FAILURES, required=False)
    code = s.CharField(required=False, allow_blank=True, max_length=128)
    detail = s.CharField(required=False, allow_blank=True, max_length=1024)


class HandlerValue(Shape):
    offset = s.IntegerField(min_value=1)
    value = s.JSONField()


class ResultsBody(Shape):
    stream = s.CharField()
    upto = s.IntegerField(min_value=0, help_text="Everything up to here that is not in `exceptions` was processed.")
    epoch = s.CharField(required=False)
    exceptions = FailedOffset(many=True, required=False)
    values = HandlerValue(many=True, required=False)


class Receipt(Shape):
    stream = s.CharField()
    upto = s.IntegerField(min_value=0, help_text="Everything up to here is stored by the client.")
    epoch = s.CharField(required=False)


class LatestReceipt(Shape):
    stream = s.CharField()
    version = s.IntegerField(min_value=0)


class AcksBody(Shape):
    acks = Receipt(many=True, required=False)
    latest = LatestReceipt(many=True, required=False, help_text="`latest` values, up to this version.")


STOPPED = "The stream waits here: the app failed on it, and its type's `on_failure` is `stop`."


class Saved(Shape):
    stream = s.CharField()
    processed = s.IntegerField()
    stopped = s.IntegerField(required=False, help_text=STOPPED)


class SavedItem(Shape):
    stream = s.CharField(required=False)
    processed = s.IntegerField(required=False)
    stopped = s.IntegerField(required=False, help_text=STOPPED)
    problem = Problem(required=False)


class SavedList(Shape):
    items = SavedItem(many=True)


class StreamEntry(Shape):
    stream = s.CharField()
    epoch = s.CharField()
    processed = s.IntegerField()
    received = s.IntegerField()
    cut = s.IntegerField()
    head = s.IntegerField()
    tail = s.IntegerField()
    latest_received = s.IntegerField()


class NoticeBody(Shape):
    state = s.ChoiceField(choices=STATES)
    state_seq = s.IntegerField(min_value=0)


class NoticeSaved(Shape):
    state = s.ChoiceField(choices=PresenceState.values)
    state_seq = s.IntegerField()
    streams = StreamEntry(many=True, help_text="For a foreground notice: the cuts.")


class Presence(Shape):
    state = s.ChoiceField(choices=PresenceState.values)
    state_seq = s.IntegerField()
    generation = s.IntegerField()
    last_seen = s.DateTimeField(allow_null=True)
    connected_at = s.DateTimeField(allow_null=True)


class Me(Shape):
    device = s.CharField()
    user = s.CharField(allow_blank=True)
    app = s.CharField()
    presence = Presence()
    streams = StreamEntry(many=True)


# --- Services' side --------------------------------------------------------------------------------------------------


@extend_schema_field(
    {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1000}]}
)
class To(s.Field[Any, Any, Any, Any]):
    pass


class Draft(Shape):
    to = To(help_text="device:NAME, user:NAME, room:NAME, or a list of these.")
    name = s.CharField(max_length=128, help_text="The message type.")
    data = s.JSONField()  # type: ignore[assignment]
    key = s.CharField(
        required=False, allow_blank=True, max_length=128, help_text="What `latest` values replace each other by."
    )
    id = s.CharField(
        required=False,
        allow_null=True,
        min_length=1,
        max_length=128,
        help_text="A repeat in the same stream gets the same offset.",
    )
    ttl = s.IntegerField(required=False, allow_null=True, min_value=1, max_value=LONGEST_TTL, help_text="Seconds.")


class MessagesBody(Shape):
    messages = Draft(many=True)


class Placed(Shape):
    stream = s.CharField(required=False)
    offset = s.IntegerField(required=False)
    version = s.IntegerField(required=False)
    shed = s.BooleanField(required=False, help_text="True: the room had too much to send; members get a gap.")
    problem = Problem(required=False)


@extend_schema_field(PolymorphicProxySerializer("PlacedOrEach", [Placed, Placed(many=True)], None, many=False))
class PlacedOrEach(s.Field[Any, Any, Any, Any]):
    pass


class Published(Shape):
    items = s.ListField(child=PlacedOrEach(), help_text="A list in the place of an item where `to` was a list.")


class ResultItem(Shape):
    position = s.IntegerField()
    device = s.CharField()
    stream = s.CharField()
    upto = s.IntegerField()
    status = s.ChoiceField(choices=ResultStatus.values)
    code = s.CharField(allow_blank=True)
    detail = s.CharField(allow_blank=True)
    value = s.JSONField(required=False)
    reported_at = s.DateTimeField()

    def get_fields(self) -> dict[str, s.Field[Any, Any, Any, Any]]:
        return {"from": s.IntegerField(), **super().get_fields()}


class Feed(Shape):
    items = ResultItem(many=True)
    next = s.IntegerField(help_text="`after` of the next request.")


class MessageAbout(Shape):
    name = s.CharField()
    service = s.CharField(allow_null=True)
    id = s.CharField(allow_null=True)
    published_at = s.DateTimeField()
    expires_at = s.DateTimeField()


class DeviceState(Shape):
    device = s.CharField()
    state = s.ChoiceField(choices=WHEREABOUTS)
    at = s.DateTimeField(allow_null=True, help_text="When the result was reported.")
    received = s.BooleanField()
    processed = s.BooleanField()
    status = s.ChoiceField(choices=ResultStatus.values, required=False)
    code = s.CharField(required=False, allow_blank=True)
    detail = s.CharField(required=False, allow_blank=True)
    stopped = s.BooleanField(required=False, help_text="True where the device's stream waits at this message.")


class MessageState(Shape):
    stream = s.CharField()
    offset = s.IntegerField()
    message = MessageAbout(allow_null=True, help_text="Null once it has been removed.")
    items = DeviceState(many=True)
    next = s.CharField(allow_null=True)
