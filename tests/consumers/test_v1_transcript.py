"""An old client at a new server: what it says is understood, and all it knows is in what it hears (05-failures 31).

`transcript-v1.json` is never changed where that makes it say less. What is new may stand beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.consumers.actors import Phone, Service

TRANSCRIPT = Path(__file__).with_name("transcript-v1.json")


def steps_of(phone: Phone) -> list[dict[str, Any]]:
    text = TRANSCRIPT.read_text()
    for name, value in {"$DEVICE": phone.name, "$USER": phone.user, "$TOKEN": phone.token}.items():
        text = text.replace(name, value)
    steps: list[dict[str, Any]] = json.loads(text)["steps"]
    return steps


def known(expected: Any, heard: Any) -> Any:
    """Of what was heard, what a client of that time knows."""
    if isinstance(expected, dict) and isinstance(heard, dict):
        return {name: known(value, heard[name]) for name, value in expected.items() if name in heard}
    if isinstance(expected, list) and isinstance(heard, list) and len(expected) == len(heard):
        return [known(one, other) for one, other in zip(expected, heard, strict=True)]
    return "*" if expected == "*" else heard


async def test_a_client_of_v1_is_understood_and_hears_what_it_heard_then(phone: Phone, game_service: Service) -> None:
    socket = await phone.dial()

    for step in steps_of(phone):
        if "device" in step:
            await socket.send_text(json.dumps(step["device"]))
        elif "publish" in step:
            await game_service.publish_all(step["publish"])
        elif "server" in step:
            assert known(step["server"], await socket.receive()) == step["server"]
        else:
            method, path = ("get", step["get"]) if "get" in step else ("post", step["post"])
            answer = await phone.http.request(method, path, **({"json": step["body"]} if "body" in step else {}))
            assert known(step["answer"], answer.json()) == step["answer"]
