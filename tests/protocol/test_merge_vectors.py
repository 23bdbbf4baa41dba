"""The interleavings in tests/vectors/, which tests/js/merge.test.mjs runs against the browser's merge too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from messaging.protocol.merge import Merge
from tests.protocol.merge_machine import drive, standing, told

VECTORS = Path(__file__).resolve().parent.parent / "vectors"


def vectors() -> list[Any]:
    return [
        pytest.param(vector, id=f"{path.stem}: {vector['name']}")
        for path in sorted(VECTORS.glob("merge-*.json"))
        for vector in json.loads(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("vector", vectors())
def test_the_merge_does_what_the_vector_says(vector: dict[str, Any]) -> None:
    merge = Merge(**vector["start"])

    for step in vector["steps"]:
        event = dict(step["in"])
        if event.pop("event") == "restart":  # the app was killed: a new merge, with what the store held
            merge = Merge(**event)
            continue
        assert [told(effect) for effect in drive(merge, step["in"])] == step["out"], step["in"]

    assert standing(merge) == vector["end"]


def test_there_are_enough_vectors() -> None:
    assert len(vectors()) >= 40
