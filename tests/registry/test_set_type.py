from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from apps_registry.models import MessageType
from apps_registry.services import NewApp, create_service, set_type


def test_a_type_is_made_and_then_changed(game: NewApp) -> None:
    made = set_type(app=game.app, name="gift", delivery="every", ttl_seconds=60)
    changed = set_type(app=game.app, name="gift", delivery="latest", result_required=False, on_failure="stop")

    assert (made[1], changed[1]) == (True, False)
    gift = MessageType.objects.get(app=game.app, name="gift")
    assert (gift.delivery, gift.ttl_seconds, gift.result_required, gift.on_failure) == ("latest", None, False, "stop")


def test_a_type_of_one_app_is_not_that_of_another(game: NewApp, taxi: NewApp) -> None:
    set_type(app=game.app, name="turn", delivery="latest")

    assert taxi.app.types.get(name="turn").delivery == "transient"


def test_results_are_reported_to_the_services_named(game: NewApp) -> None:
    stats = create_service(app=game.app, name="stats")

    message_type, _ = set_type(app=game.app, name="turn", delivery="every", report_to=[stats])
    assert list(message_type.report_to.all()) == [stats]

    set_type(app=game.app, name="turn", delivery="every")
    assert list(message_type.report_to.all()) == []


def test_results_are_never_reported_to_another_app(game: NewApp, taxi: NewApp) -> None:
    with pytest.raises(ValidationError) as refusal:
        set_type(app=game.app, name="turn", delivery="latest", report_to=[taxi.service])

    assert refusal.value.message_dict == {"report_to": ["Not services of the app game: backend."]}
    assert game.app.types.get(name="turn").delivery == "every"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "my turn"}, "name"),
        ({"name": ""}, "name"),
        ({"delivery": "EVERY"}, "delivery"),
        ({"delivery": ""}, "delivery"),
        ({"on_failure": "panic"}, "on_failure"),
        ({"ttl_seconds": 0}, "ttl_seconds"),
        ({"ttl_seconds": -1}, "ttl_seconds"),
        ({"ttl_seconds": 315_360_001}, "ttl_seconds"),
    ],
)
def test_a_wrong_type_is_refused_by_field(game: NewApp, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        set_type(**{"app": game.app, "name": "gift", "delivery": "every", **wrong})

    assert list(refusal.value.message_dict) == [field]
    assert set(game.app.types.values_list("name", flat=True)) == {"turn", "weather"}
