"""docs/reference/asyncapi.yaml as a judge of frames: what is on the wire and what is in the document are the same."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

from messaging.protocol import frames
from messaging.protocol.errors import ProtocolError

PATH = Path(__file__).resolve().parent.parent / "docs/reference/asyncapi.yaml"
#: By the socket's address: operations of what the server receives and sends.
OPERATIONS = {"/ws/device": ("fromDevice", "toDevice"), "/ws/service": ("fromService", "toService")}
#: Refusals of the form of a frame, which the document must refuse too.
FORM = {"invalid", "unknown_type"}
#: A frame as (operation, type).
Kind = tuple[str, str]


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
def payloads(operation: str) -> dict[str, dict[str, Any]]:
    """Schemas by frame type."""
    messages = [resolved(message) for message in document()["operations"][operation]["messages"]]
    shared = {"components": {"schemas": document()["components"]["schemas"]}}
    return {one["name"]: {**one["payload"], **shared} for one in messages}


@cache
def validators(operation: str) -> dict[str, jsonschema_rs.Draft202012Validator]:
    return {name: jsonschema_rs.Draft202012Validator(schema) for name, schema in payloads(operation).items()}


def faults(operation: str, frame: Any) -> list[str]:
    """What the document has against a frame; [] for one that it describes."""
    kind = frame.get("type") if isinstance(frame, dict) else None
    validator = validators(operation).get(kind) if isinstance(kind, str) else None
    if validator is None:
        return [f"{operation} has no {kind!r}"]
    if validator.is_valid(frame):
        return []
    return [
        f"{operation}: {kind} {error.instance_path}: {error.message[:300]}" for error in validator.iter_errors(frame)
    ]


def check_received(path: str, text: str) -> tuple[Kind | None, list[str]]:
    """What a server sent must be in the document, member by member. → what it is, and its faults."""
    operation = OPERATIONS[path][1]
    frame = json.loads(text)
    found = faults(operation, frame)
    return (None if found else (operation, frame["type"])), found


def check_sent(path: str, text: str) -> tuple[Kind | None, list[str]]:
    """What the server takes the document describes; what it refuses for its form, the document refuses."""
    decode = frames.decode_device if path == "/ws/device" else frames.decode_service
    operation = OPERATIONS[path][0]
    try:
        decoded = decode(text, max_depth=32)
    except ProtocolError as error:
        if error.code.name in FORM and not faults(operation, json.loads(text)):
            return None, [f"{operation}: the document takes what the server refuses: {text[:200]}"]
        return None, []
    frame = json.loads(text)
    if isinstance(decoded, frames.Publish):
        frame["messages"] = [draft for draft in frame["messages"] if _taken(draft)]
    return (operation, frame["type"]), faults(operation, frame)


def _taken(draft: Any) -> bool:
    """One bad draft does not sink the others: the server takes the frame, and refuses the draft."""
    try:
        frames.decode_draft(json.dumps(draft).encode(), max_data=10**9)
    except ProtocolError:
        return False
    return bool(draft["to"])
