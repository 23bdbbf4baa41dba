"""What a device may do about rooms by itself: the same for the socket's frames and for HTTP."""

from __future__ import annotations

from apps_registry.models import Device
from apps_registry.names import room_allowed
from messaging.protocol.errors import ProtocolError
from messaging.protocol.names import stream_kind


def check_room(stream: str) -> None:
    """Raises `not_allowed` for what is not a room, `unknown_stream` for what cannot be a stream."""
    if stream_kind(stream) != "room":
        raise ProtocolError("not_allowed", "Rooms can be joined and left.")


def check_may_join(device: Device | None, stream: str) -> None:
    """Raises `not_allowed`. device: as it is now; its rights may have changed since it came."""
    if device is None or not room_allowed(device.rooms, stream):
        raise ProtocolError("not_allowed", "The room is not among those the device may join.")
