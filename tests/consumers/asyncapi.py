"""docs/reference/asyncapi.yaml as a judge of frames: what is on the wire and what is in the document are the same."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from messaging.protocol import frames
from messaging.protocol.errors import ProtocolError

PATH = Path(__file__).resolve().parent.parent.parent / "docs/reference/asyncapi.yaml"
#: By the socket's address: operations of what the server receives and sends.
OPERATIONS = {"/ws/device": ("fromDevice", "toDevice"), "/ws/service": ("fromService", "toService")}
#: Refusals of the form of a frame, which the document must refuse too.
FORM = {"invalid", "unknown_type"}


@cache
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(PATH.read_text())
    return loaded


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """What a {"$ref": …} stands for, to the end of the chain."""
    while "$ref" in node:
        place: Any = document()
        for step in node["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        node = place
    return node


@cache
def validators(operation: str) -> dict[str, Draft202012Validator]:
    """By frame type."""
    messages = [resolved(message) for message in document()["operations"][operation]["messages"]]
    shared = {"components": {"schemas": document()["components"]["schemas"]}}
    return {one["name"]: Draft202012Validator({**one["payload"], **shared}) for one in messages}


def faults(operation: str, frame: Any) -> list[str]:
    """What the document has against a frame; [] for one that it describes."""
    kind = frame.get("type") if isinstance(frame, dict) else None
    validator = validators(operation).get(kind) if isinstance(kind, str) else None
    if validator is None:
        return [f"{operation} has no {kind!r}"]
    return [f"{kind}{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(frame)]


def check_received(path: str, frame: Any) -> None:
    """What a server sent must be in the document, member by member."""
    assert faults(OPERATIONS[path][1], frame) == []


def check_sent(path: str, text: str | bytes) -> None:
    """What the server takes the document describes; what it refuses for its form, the document refuses."""
    if isinstance(text, bytes):
        return
    decode = frames.decode_device if path == "/ws/device" else frames.decode_service
    operation = OPERATIONS[path][0]
    try:
        decoded = decode(text, max_depth=32)
    except ProtocolError as error:
        if error.code.name in FORM:
            assert faults(operation, json.loads(text)), f"the document takes what the server refuses: {text[:200]}"
        return
    frame = json.loads(text)
    if isinstance(decoded, frames.Publish):
        frame["messages"] = [draft for draft in frame["messages"] if _taken(draft)]
    assert faults(operation, frame) == []


def _taken(draft: Any) -> bool:
    """One bad draft does not sink the others: the server takes the frame, and refuses the draft."""
    try:
        frames.decode_draft(json.dumps(draft).encode(), max_data=10**9)
    except ProtocolError:
        return False
    return bool(draft["to"])
