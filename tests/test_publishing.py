"""`messaging.publish()`: what Django code may say, and what it is told of the rest."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

import messaging
from apps_registry.models import Device
from messaging.log.append import Stored
from messaging.models import LatestValue, Message
from messaging.protocol.errors import ProtocolError
from tests.conftest import World


def turn(**more: Any) -> Any:
    return messaging.publish(**{"app": "demo", "to": "room:lobby", "name": "turn", "data": 1, **more})


def test_it_says_where_the_message_stands(world: World, phone: Device) -> None:
    assert turn(data={"é": [1, None]}) == Stored("room:lobby", offset=1)
    assert turn(name="weather", key="berlin") == Stored("room:lobby", version=1)
    assert turn(name="chat") == Stored("room:lobby")
    assert Message.objects.get().payload == '{"é":[1,null]}'


def test_several_streams_are_answered_one_by_one_in_their_order(world: World, phone: Device) -> None:
    named = ("device:phone", "room:lobby", "device:phone")

    places = [Stored(stream, offset=1) for stream in named]
    assert turn(to=named) == places
    assert turn(to=(stream for stream in ["room:lobby"])) == [Stored("room:lobby", offset=2)]
    assert Message.objects.count() == 3


def test_a_repeat_with_an_id_is_the_same_message(world: World, phone: Device) -> None:
    assert turn(id="order-1") == turn(id="order-1") == Stored("room:lobby", offset=1)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no stream": ({"to": []}, "invalid"),
    "1,001 streams": ({"to": [f"room:{n}" for n in range(1001)]}, "invalid"),
    "a stream that is none": ({"to": "lobby"}, "unknown_stream"),
    "a type that is none": ({"name": None}, "invalid"),
    "a number as id": ({"id": 5}, "invalid"),
    "an id that is no JSON": ({"id": uuid.UUID(int=1)}, "bad_json"),
    "an empty id": ({"id": ""}, "invalid"),
    "a long id": ({"id": "x" * 129}, "invalid"),
    "NUL in an id": ({"id": "\0"}, "bad_json"),
    "a long key": ({"key": "x" * 129, "name": "weather"}, "invalid"),
    "no key": ({"key": None, "name": "weather"}, "invalid"),
    "no time to live": ({"ttl": 0}, "invalid"),
    "a negative ttl": ({"ttl": -5}, "invalid"),
    "a ttl of ages": ({"ttl": 10**12}, "invalid"),
    "half a second": ({"ttl": 0.5}, "invalid"),
    "a set": ({"data": {1}}, "bad_json"),
    "NaN": ({"data": float("nan")}, "bad_json"),
    "half a character": ({"data": "\ud800"}, "bad_json"),
    "too much": ({"data": "x" * 65_535}, "too_large"),
}


@pytest.mark.parametrize(("said", "code"), REFUSED.values(), ids=REFUSED)
def test_what_the_api_refuses_is_refused_here_too(world: World, phone: Device, said: dict[str, Any], code: str) -> None:
    with pytest.raises(ProtocolError, match=code):
        turn(**said)

    assert not Message.objects.exists()
    assert not LatestValue.objects.exists()


def test_data_may_be_as_deep_and_as_large_as_over_http(world: World, phone: Device) -> None:
    deep: Any = 1
    for _ in range(32):
        deep = [deep]
    deeper: Any = 1
    for _ in range(100_000):
        deeper = [deeper]

    turn(data=deep)
    turn(data="x" * 65_534)
    for refused in ([deep], deeper):
        with pytest.raises(ProtocolError, match="too_deep"):
            turn(data=refused)
