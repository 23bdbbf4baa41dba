"""The AsyncAPI document and the frames of the code tell the same. The wire itself: tests/consumers, frame by frame."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from messaging.models import GapReason, PresenceState, ResultStatus
from messaging.protocol import frames
from messaging.protocol.rules import Segment
from tests.consumers.asyncapi import OPERATIONS, PATH, document, faults, resolved, validators

STRUCTS = [("fromDevice", struct) for struct in frames.DeviceFrame.__args__] + [
    ("fromService", struct) for struct in frames.ServiceFrame.__args__
]
PAGE = Path(PATH).with_name("protocol.md").read_text()


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


def test_every_reference_leads_somewhere() -> None:
    for node in nodes(document()):
        if "$ref" in node:
            assert resolved(node), node


def test_every_payload_is_a_schema_that_names_its_type() -> None:
    for name, message in document()["components"]["messages"].items():
        Draft202012Validator.check_schema(message["payload"])
        assert message["payload"]["properties"]["type"] == {"const": message["name"]}, name
        assert "type" in message["payload"]["required"], name


def test_operations_and_channels_have_the_same_messages() -> None:
    for address, operations in OPERATIONS.items():
        (channel,) = [one for one in document()["channels"].values() if one["address"] == address]
        told = [set(validators(operation)) for operation in operations]
        assert told[0] | told[1] == set(channel["messages"])
        assert {resolved(one)["name"] for one in channel["messages"].values()} == set(channel["messages"])


def test_the_server_takes_just_the_frames_of_the_document() -> None:
    assert set(validators("fromDevice")) == frames.DEVICE_TYPES
    assert set(validators("fromService")) == frames.SERVICE_TYPES


@pytest.mark.parametrize(("operation", "struct"), STRUCTS)
def test_a_frame_has_the_members_of_its_struct(operation: str, struct: Any) -> None:
    schema = validators(operation)[struct.__struct_config__.tag].schema

    fields = msgspec.structs.fields(struct)
    assert set(schema["properties"]) == {"type", *(field.name for field in fields)}
    assert set(schema["required"]) == {"type", *(field.name for field in fields if field.required)}


def test_a_draft_has_the_members_of_its_struct() -> None:
    schema = document()["components"]["schemas"]["draft"]

    fields = msgspec.structs.fields(frames.Draft)
    assert set(schema["properties"]) == {field.name for field in fields}
    assert set(schema["required"]) == {field.name for field in fields if field.required}


def test_words_are_those_of_the_models() -> None:
    schemas = document()["components"]["schemas"]

    assert schemas["reason"]["enum"] == GapReason.values
    assert schemas["state"]["enum"] == PresenceState.values
    assert (
        document()["components"]["messages"]["result"]["payload"]["properties"]["status"]["enum"] == ResultStatus.values
    )
    assert Segment._field_defaults["status"] in ResultStatus.values


def test_every_frame_stands_in_the_page_of_the_protocol() -> None:
    for operations in OPERATIONS.values():
        for operation in operations:
            for name in validators(operation):
                assert re.search(rf"`{name}`", PAGE), name


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"ack","stream":"room:x","upto":-1}',
        '{"type":"ack","stream":"room:x"}',
        '{"type":"notice","state":"asleep","state_seq":1}',
        '{"type":"results","stream":"room:x","upto":1,"exceptions":[{"status":"failed"}]}',
        '{"type":"dance"}',
        "[]",
    ],
)
def test_the_document_refuses_what_no_frame_is(text: str) -> None:
    assert faults("fromDevice", json.loads(text))


def test_the_document_refuses_a_member_it_does_not_name() -> None:
    frame = {"type": "pong", "re": 1}

    assert faults("toDevice", frame) == []
    assert faults("toDevice", {**frame, "mood": "good"})
