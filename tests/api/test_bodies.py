"""Bodies of services' requests are taken as they are: a number is no text, 0 is not false, "5" is no number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework import serializers

from messaging.api import bodies
from tests.api.callers import problem, service_caller
from tests.conftest import World

#: One of each kind that JSON has, and what a lenient reader would take for another.
VALUES: list[Any] = [
    "x",
    "5",
    "true",
    "2026-11-22T10:00:00Z",
    "",
    5,
    0,
    1,
    5.0,
    0.5,
    True,
    False,
    ["x"],
    [],
    {"a": 1},
    {},
]
KINDS = {
    serializers.BooleanField: bool,
    serializers.IntegerField: int,
    serializers.CharField: str,
    serializers.ChoiceField: str,
    serializers.DateTimeField: str,
    serializers.ListField: list,
    serializers.Serializer: dict,
}


def kind_of(field: Any) -> type:
    return next(kind for known, kind in KINDS.items() if isinstance(field, known))


def wrong() -> Iterator[Any]:
    """Every member of every body, with each value that is of another kind."""
    for body in vars(bodies).values():
        if isinstance(body, type) and issubclass(body, serializers.Serializer):
            for name, field in body().fields.items():
                kind = kind_of(field)
                values = [value for value in VALUES if type(value) is not kind]
                if isinstance(field, serializers.ListField):
                    values += [[value] for value in VALUES if type(value) is not kind_of(field.child)]
                for value in values:
                    yield pytest.param(body, name, value, id=f"{body.__name__}-{name}-{value}")


@pytest.mark.parametrize(("body", "member", "value"), list(wrong()))
def test_a_value_of_another_kind_is_refused(body: type[Any], member: str, value: Any) -> None:
    read = body(data={member: value}, partial=True)

    assert not read.is_valid()
    assert list(read.errors) == [member]


def test_the_refusal_names_the_member(idle_node: object, world: World) -> None:
    operator = service_caller(world.game)

    answer = operator.post("/api/v1/types", {"name": "order", "delivery": "every", "result_required": 0, "ttl": "5"})

    assert problem(answer) == (400, "invalid")
    assert sorted(answer.json()["errors"]) == ["result_required", "ttl"]
