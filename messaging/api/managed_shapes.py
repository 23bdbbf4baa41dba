"""What services that manage devices and streams are told of them: see shapes.py."""

from __future__ import annotations

from rest_framework import serializers as s

from messaging.api.shapes import Presence, Shape, StreamEntry
from messaging.models import StreamKind


class Registered(Shape):
    device = s.CharField()
    user = s.CharField(allow_blank=True)
    token = s.CharField()
    expires_at = s.DateTimeField()
    streams = s.ListField(child=s.CharField())


class FreshToken(Shape):
    device = s.CharField()
    token = s.CharField()
    expires_at = s.DateTimeField()


class Revoked(Shape):
    device = s.CharField()
    revoked_at = s.DateTimeField()


class DeviceAbout(Shape):
    device = s.CharField()
    user = s.CharField(allow_blank=True)
    platform = s.CharField(allow_blank=True)
    rooms = s.ListField(child=s.CharField())
    presence = Presence()
    backlog = s.IntegerField(help_text="Messages it has not processed, over all its streams.")
    created_at = s.DateTimeField()
    revoked_at = s.DateTimeField(allow_null=True)


class DeviceList(Shape):
    items = DeviceAbout(many=True)
    next = s.CharField(allow_null=True)


class EntryWithBacklog(StreamEntry):
    backlog = s.IntegerField()


class DeviceWhole(DeviceAbout):
    streams = EntryWithBacklog(many=True)


class HistoryAbout(Shape):
    last = s.IntegerField(required=False)
    since = s.DateTimeField(required=False)


class StreamAbout(Shape):
    stream = s.CharField()
    kind = s.ChoiceField(choices=StreamKind.values)
    epoch = s.CharField()
    head = s.IntegerField()
    tail = s.IntegerField()
    shed = s.IntegerField(help_text="Messages that were shed under the app's room rate.")
    members = s.IntegerField()
    history = HistoryAbout(allow_null=True, help_text="What a newcomer gets of a room's past, where it is not told.")
    created_at = s.DateTimeField()
    closed_at = s.DateTimeField(allow_null=True)


class StreamList(Shape):
    items = StreamAbout(many=True)
    next = s.CharField(allow_null=True)


class MemberEntry(StreamEntry):
    device = s.CharField()


class Purged(Shape):
    stream = s.CharField()
    removed = s.IntegerField()
    head = s.IntegerField()
    tail = s.IntegerField()


class Closed(Shape):
    stream = s.CharField()
    head = s.IntegerField()
    closed_at = s.DateTimeField()
