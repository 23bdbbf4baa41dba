"""`/api/v1/types`: which change is of which kind."""

from __future__ import annotations

from typing import Any

import pytest

from apps_registry.models import MessageType
from tests.api.callers import Caller, problem, service_caller
from tests.conftest import World

TYPES = "/api/v1/types"


@pytest.fixture
def operator(idle_node: object, world: World) -> Caller:
    return service_caller(world.game)


def test_types_are_listed_by_name(operator: Caller) -> None:
    items = operator.get(TYPES).json()["items"]

    assert [(one["name"], one["delivery"]) for one in items] == [
        ("chat", "transient"),
        ("gift", "every"),
        ("turn", "every"),
        ("weather", "latest"),
    ]


def test_a_new_type_is_made_with_defaults(operator: Caller) -> None:
    answer = operator.post(TYPES, {"name": "order", "delivery": "every"})

    assert answer.status_code == 201
    assert answer.json() == {
        "name": "order",
        "delivery": "every",
        "priority": "normal",
        "ttl": None,
        "result_required": True,
        "on_failure": "continue",
        "report_to": [],
    }
    assert operator.get(f"{TYPES}/order").json() == answer.json()


def test_the_same_again_states_the_whole_type(operator: Caller) -> None:
    operator.post(TYPES, {"name": "order", "delivery": "every", "ttl": 60, "report_to": ["weather", "game"]})

    answer = operator.post(TYPES, {"name": "order", "delivery": "latest"})

    assert answer.status_code == 200
    assert (answer.json()["delivery"], answer.json()["ttl"], answer.json()["report_to"]) == ("latest", None, [])


def test_a_change_keeps_what_is_not_told(operator: Caller) -> None:
    operator.post(
        TYPES,
        {
            "name": "order",
            "delivery": "every",
            "priority": "low",
            "ttl": 60,
            "result_required": False,
            "on_failure": "stop",
            "report_to": ["weather", "game"],
        },
    )

    answer = operator.patch(f"{TYPES}/order", {"delivery": "transient"})

    assert (answer.status_code, answer.json()) == (
        200,
        {
            "name": "order",
            "delivery": "transient",
            "priority": "low",
            "ttl": 60,
            "result_required": False,
            "on_failure": "stop",
            "report_to": ["game", "weather"],
        },
    )


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"priority": "control"}, "priority"),
        ({"ttl": None}, "ttl"),
        ({"ttl": 5}, "ttl"),
        ({"result_required": True}, "result_required"),
        ({"on_failure": "continue"}, "on_failure"),
        ({"report_to": []}, "report_to"),
    ],
)
def test_one_member_alone_is_changed(operator: Caller, change: dict[str, Any], member: str) -> None:
    whole = {
        "delivery": "every",
        "priority": "low",
        "ttl": 60,
        "result_required": False,
        "on_failure": "stop",
        "report_to": ["game"],
    }
    operator.post(TYPES, {"name": "order", **whole})

    said = operator.patch(f"{TYPES}/order", change).json()

    assert said == {"name": "order", **whole, **change}


@pytest.mark.parametrize(
    "wrong",
    [
        {"delivery": "sometimes"},
        {"delivery": None},
        {"priority": "high"},
        {"ttl": 0},
        {"ttl": 315_360_001},
        {"ttl": "soon"},
        {"on_failure": "panic"},
        {"report_to": ["nobody"]},
        {"report_to": "game"},
        {"result_required": "perhaps"},
    ],
)
def test_a_type_that_makes_no_sense_is_refused(operator: Caller, wrong: dict[str, Any]) -> None:
    changed = operator.patch(f"{TYPES}/turn", wrong)
    made = operator.post(TYPES, {"name": "order", "delivery": "every", **wrong})

    assert problem(changed) == problem(made) == (400, "invalid")
    assert list(changed.json()["errors"]) == list(wrong)
    assert MessageType.objects.get(name="turn").delivery == "every"
    assert not MessageType.objects.filter(name="order").exists()


@pytest.mark.parametrize("body", [{"delivery": "every"}, {"name": "a b", "delivery": "every"}, {"name": "x"}, []])
def test_a_type_needs_a_name_and_a_delivery(operator: Caller, body: Any) -> None:
    assert problem(operator.post(TYPES, body)) == (400, "invalid")


def test_a_type_that_is_not_there_is_unknown(operator: Caller) -> None:
    assert problem(operator.get(f"{TYPES}/nothing")) == (404, "unknown_name")
    assert problem(operator.patch(f"{TYPES}/nothing", {"ttl": 5})) == (404, "unknown_name")


def test_results_go_to_services_of_the_app_alone(operator: Caller, foreign_service: object) -> None:
    answer = operator.patch(f"{TYPES}/turn", {"report_to": ["abroad"]})

    assert problem(answer) == (400, "invalid")


@pytest.fixture
def foreign_service(world: World) -> object:
    from apps_registry.models import App, Service

    return Service.objects.create(app=App.objects.create(name="other"), name="abroad")
