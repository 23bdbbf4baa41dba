"""Inbound frames as structs: decode, or raise. Outbound frames are text, built once (see `wire.py`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from messaging.protocol import jsontext
from messaging.protocol.errors import ProtocolError
from messaging.protocol.names import MAX_OFFSET

Id = Annotated[int, Meta(ge=0, le=MAX_OFFSET)]
Offset = Annotated[int, Meta(ge=1, le=MAX_OFFSET)]
Position = Annotated[int, Meta(ge=0, le=MAX_OFFSET)]
StreamName = Annotated[str, Meta(max_length=160)]
Code = Annotated[str, Meta(max_length=128)]
Detail = Annotated[str, Meta(max_length=1024)]
State = Literal["foreground", "background"]
Mode = Literal["pull", "replay", "hold"]


class Frame(Struct, tag_field="type", gc=False):
    """What every request has: an `id` to be echoed as `re`."""


class StatedPosition(Struct, gc=False):
    processed: Position
    epoch: str = ""


class Hello(Frame, tag="hello"):
    token: str
    state: State = "foreground"
    state_seq: Position = 0
    resume: Mode = "replay"
    positions: dict[StreamName, StatedPosition] = {}
    client: Any = None
    id: Id | None = None


class Notice(Frame, tag="notice"):
    state: State
    state_seq: Position
    id: Id | None = None


class Ack(Frame, tag="ack"):
    stream: StreamName
    upto: Position
    epoch: str = ""
    id: Id | None = None


class AckLatest(Frame, tag="ack_latest"):
    stream: StreamName
    version: Position
    id: Id | None = None


class FailedOffset(Struct, gc=False):
    """One message the app could not take."""

    offset: Offset
    status: Literal["failed", "rejected"] = "failed"
    code: Code = ""
    detail: Detail = ""


class HandlerValue(Struct, gc=False):
    """What the handler of one message returned: JSON text, passed on to the service."""

    offset: Offset
    value: Raw


class Results(Frame, tag="results"):
    stream: StreamName
    upto: Position
    epoch: str = ""
    exceptions: list[FailedOffset] = []
    values: list[HandlerValue] = []
    id: Id | None = None


class Join(Frame, tag="join"):
    stream: StreamName
    id: Id | None = None


class Leave(Frame, tag="leave"):
    stream: StreamName
    id: Id | None = None


class Refresh(Frame, tag="refresh"):
    token: str
    id: Id | None = None


class Ping(Frame, tag="ping"):
    id: Id | None = None


class ServiceHello(Frame, tag="hello"):
    key: str
    listen: list[Literal["results", "presence"]] = []
    #: The place in the results feed up to which everything is known; None: from now on.
    after: Position | None = None
    id: Id | None = None


class Draft(Struct, gc=False):
    """A message as a service hands it in. `data` stays the text it came as."""

    to: StreamName | list[StreamName]
    name: Annotated[str, Meta(max_length=128)]
    data: Raw
    key: Annotated[str, Meta(max_length=128)] = ""
    id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    ttl: Annotated[int, Meta(ge=1, le=315_360_000)] | None = None


class Publish(Frame, tag="publish"):
    #: Each is a Draft; decoded one by one, so that a bad one does not sink the others.
    messages: list[Raw]
    id: Id | None = None


class _Typed(Struct):
    """As much of a frame as an answer to a bad one needs."""

    type: Any
    id: Any = UNSET


DeviceFrame = Hello | Notice | Ack | AckLatest | Results | Join | Leave | Refresh | Ping
ServiceFrame = ServiceHello | Publish | Ping
_device: msgspec.json.Decoder[DeviceFrame] = msgspec.json.Decoder(DeviceFrame)
_service: msgspec.json.Decoder[ServiceFrame] = msgspec.json.Decoder(ServiceFrame)
_draft = msgspec.json.Decoder(Draft)
_typed = msgspec.json.Decoder(_Typed)
DEVICE_TYPES = frozenset(t.__struct_config__.tag for t in DeviceFrame.__args__)
SERVICE_TYPES = frozenset(t.__struct_config__.tag for t in ServiceFrame.__args__)


class FrameError(ProtocolError):
    """A refusal of a frame; `re` is its id where that could be read."""

    re: int | None = None


def _refusal(text: str, types: frozenset[str], error: msgspec.DecodeError) -> FrameError:
    try:
        head = _typed.decode(text)
    except msgspec.DecodeError:
        return FrameError("invalid", "A frame is an object with a `type`.")
    known = isinstance(head.type, str) and head.type in types
    refusal = FrameError("invalid", str(error)) if known else FrameError("unknown_type")
    if isinstance(head.id, int) and not isinstance(head.id, bool | UnsetType) and 0 <= head.id <= MAX_OFFSET:
        refusal.re = head.id
    return refusal


def decode_device(text: str, *, max_depth: int) -> DeviceFrame:
    """The frame of a device. Raises FrameError (`bad_json`, `too_deep`, `invalid`, `unknown_type`)."""
    _strict(text, max_depth)
    try:
        return _device.decode(text)
    except msgspec.DecodeError as error:
        raise _refusal(text, DEVICE_TYPES, error) from None


def decode_service(text: str, *, max_depth: int) -> ServiceFrame:
    """The frame of a service. Raises as `decode_device`."""
    _strict(text, max_depth)
    try:
        return _service.decode(text)
    except msgspec.DecodeError as error:
        raise _refusal(text, SERVICE_TYPES, error) from None


def _strict(text: str, max_depth: int) -> None:
    try:
        jsontext.strict(text, max_depth=max_depth)
    except ProtocolError as error:
        raise FrameError(error.code.name, error.detail) from None


def decode_draft(raw: Raw | bytes, *, max_data: int) -> Draft:
    """One message of a publish whose text has passed `jsontext.strict`. Raises `invalid` or `too_large`."""
    try:
        draft = _draft.decode(raw)
    except msgspec.DecodeError as error:
        raise ProtocolError("invalid", str(error)) from None
    if memoryview(draft.data).nbytes > max_data:
        raise ProtocolError("too_large", f"data is above {max_data} bytes.")
    return draft
