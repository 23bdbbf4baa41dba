"""Devices that come and go, as their connections make them."""

from __future__ import annotations

from django.db import transaction

from apps_registry.models import Device
from messaging.log import presence
from messaging.log.effects import Effects
from messaging.log.presence import Arrival, Departure
from messaging.models import Presence


def enter(*devices: Device, state: str = "foreground") -> None:
    with transaction.atomic():
        presence.enter([Arrival(device.pk, state, 1, "pull", "node-1") for device in devices], Effects())


def leave(device: Device) -> None:
    """Its newest connection ends."""
    generation = Presence.objects.get(device=device).generation
    with transaction.atomic():
        presence.leave([Departure(device.pk, generation)], Effects())
