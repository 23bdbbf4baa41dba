from __future__ import annotations

import io
import json
import shlex
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from apps_registry.models import App, MessageType, Service, ServiceKey
from apps_registry.services import NewApp, authenticate_key, create_app, create_service

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("create_app", *arguments, stdout=out)
    return out.getvalue()


def test_an_app_comes_with_types_a_service_and_a_key_of_all_scopes() -> None:
    new = create_app(name="game", types={"turn": "every", "weather": "latest", "chat": "transient"}, service="logic")

    key = authenticate_key(new.key)
    assert (new.app.name, new.service.name) == ("game", "logic")
    assert dict(new.app.types.values_list("name", "delivery")) == {
        "turn": "every",
        "weather": "latest",
        "chat": "transient",
    }
    assert (key.service, key.scopes) == (new.service, ["publish", "read", "manage"])


def test_an_app_signs_with_a_key_of_its_own(game: NewApp, taxi: NewApp) -> None:
    assert len(game.app.signing_key) == 64
    assert game.app.signing_key != taxi.app.signing_key


def test_a_name_is_given_once(game: NewApp) -> None:
    with pytest.raises(ValidationError) as refusal:
        create_app(name="game", types={})

    assert refusal.value.message_dict == {"name": ["There is already one: the app game."]}
    assert App.objects.count() == 1  # and the caller's transaction goes on


def test_services_of_two_apps_may_have_one_name(game: NewApp, taxi: NewApp) -> None:
    weather = create_service(app=game.app, name="weather")

    assert create_service(app=taxi.app, name="weather").pk != weather.pk
    with pytest.raises(ValidationError, match="There is already one: the service weather"):
        create_service(app=game.app, name="weather")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "my game"},
        {"name": ""},
        {"name": "x" * 129},
        {"name": "good", "service": "-"},
        {"name": "good", "types": {"good": "every", "a b": "every"}},
        {"name": "good", "types": {"turn": "sometimes"}},
    ],
)
def test_nothing_is_made_when_a_part_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        create_app(**{"types": {}, **wrong})

    assert [model.objects.count() for model in (App, Service, ServiceKey, MessageType)] == [0, 0, 0, 0]


def test_the_command_prints_one_line_of_json() -> None:
    printed = run("game", "--type", "turn=every", "--type", "weather=latest", "--json")

    answer = json.loads(printed)
    assert printed.count("\n") == 1
    assert set(answer) == {"app", "service", "key"}
    assert (answer["app"], answer["service"]) == ("game", "backend")
    assert authenticate_key(answer["key"]).scopes == ["publish", "read", "manage"]
    assert set(MessageType.objects.values_list("app__name", "name", "delivery")) == {
        ("game", "turn", "every"),
        ("game", "weather", "latest"),
    }


def test_the_command_names_the_service_as_told() -> None:
    assert json.loads(run("game", "--service", "logic", "--json"))["service"] == "logic"


def test_the_command_tells_people_what_to_do_next() -> None:
    printed = run("game", "--type", "weather=latest")

    (key,) = {word for word in shlex.split(printed.replace("'s", "s")) if word.startswith("mw_")}
    assert "App game is ready" in printed
    assert f"Authorization: Bearer {key}" in printed
    assert "curl -X POST http://localhost:8000/api/v1/devices" in printed
    assert '"name": "weather", "key": "k1"' in printed
    assert authenticate_key(key).service.app.name == "game"


def test_the_examples_of_the_command_are_json() -> None:
    words = shlex.split(run("game", "--type", "turn=every"), comments=False)

    bodies = [json.loads(word) for word in words if word.startswith("{")]
    assert bodies == [
        {"device": "phone-1", "user": "u1"},
        {"messages": [{"to": "device:phone-1", "name": "turn", "data": {"hello": "world"}}]},
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["taxi"], "There is already one: the app taxi."),
        (["my game"], "name: 'my game': Letters, digits and"),
        (["game", "--service", "a b"], "name: 'a b': Letters, digits and"),
        (["game", "--type", "turn"], "--type turn: say NAME=DELIVERY"),
        (["game", "--type", "turn="], "--type turn=: say NAME=DELIVERY"),
        (["game", "--type", "=every"], "--type =every: say NAME=DELIVERY"),
        (["game", "--type", "turn=often"], "'often' is no delivery. Say every, latest, transient."),
        (["game", "--type", "turn=every", "--type", "turn=latest"], "--type turn is given twice."),
    ],
)
def test_the_command_says_what_is_wrong_and_makes_nothing(taxi: NewApp, arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError) as refusal:
        run(*arguments, "--json")

    assert said in str(refusal.value)
    assert refusal.value.returncode == 1
    assert list(App.objects.values_list("name", flat=True)) == ["taxi"]
