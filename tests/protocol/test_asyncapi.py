"""The AsyncAPI document and the frames of the code tell the same. The wire itself: tests/wiretap.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from messaging.models import GapReason, PresenceState, ResultStatus
from messaging.protocol import frames
from messaging.protocol.rules import Segment
from tests.asyncapi import OPERATIONS, PATH, document, faults, payloads, resolved

STRUCTS = [("fromDevice", struct) for struct in frames.DeviceFrame.__args__] + [
    ("fromService", struct) for struct in frames.ServiceFrame.__args__
]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
ROOT = Path(__file__).resolve().parent.parent.parent
META_SCHEMA = ROOT / "tests/vendor/asyncapi/3.0.0.json"
PAGE = Path(PATH).with_name("protocol.md").read_text()


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


def test_it_is_an_asyncapi_3_document() -> None:
    """By the specification's own JSON Schema."""
    described = jsonschema_rs.validator_for(json.loads(META_SCHEMA.read_text()))

    assert [(error.instance_path, error.message[:500]) for error in described.iter_errors(document())] == []
    assert not described.is_valid({**document(), "asyncapi": "2.6.0"})


def test_every_reference_leads_somewhere() -> None:
    for node in nodes(document()):
        if "$ref" in node:
            assert resolved(node), node


def test_every_payload_is_a_schema_that_names_its_type() -> None:
    for name, message in document()["components"]["messages"].items():
        jsonschema_rs.meta.validate({"$schema": DIALECT, **message["payload"]})
        assert message["payload"]["properties"]["type"] == {"const": message["name"]}, name
        assert "type" in message["payload"]["required"], name


def test_operations_and_channels_have_the_same_messages() -> None:
    for address, operations in OPERATIONS.items():
        (channel,) = [one for one in document()["channels"].values() if one["address"] == address]
        told = [set(payloads(operation)) for operation in operations]
        assert told[0] | told[1] == set(channel["messages"])
        assert {resolved(one)["name"] for one in channel["messages"].values()} == set(channel["messages"])


def test_the_server_takes_just_the_frames_of_the_document() -> None:
    assert set(payloads("fromDevice")) == frames.DEVICE_TYPES
    assert set(payloads("fromService")) == frames.SERVICE_TYPES


@pytest.mark.parametrize(("operation", "struct"), STRUCTS)
def test_a_frame_has_the_members_of_its_struct(operation: str, struct: Any) -> None:
    schema = payloads(operation)[struct.__struct_config__.tag]

    fields = msgspec.structs.fields(struct)
    assert set(schema["properties"]) == {"type", *(field.name for field in fields)}
    assert set(schema["required"]) == {"type", *(field.name for field in fields if field.required)}


def test_the_server_sends_just_the_frames_of_the_document() -> None:
    """Outbound frames are text: their types are found where they are written."""
    code = "".join(path.read_text() for path in sorted((ROOT / "messaging").rglob("*.py")))
    written = set(re.findall(r'wire\.frame\(\s*"(\w+)"|"type":"(\w+)"|\bframe\("(\w+)"', code))

    described = set(payloads("toDevice")) | set(payloads("toService"))
    assert {one or other or third for one, other, third in written} == described


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
            for name in payloads(operation):
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
