from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from apps_registry.devices import register_device, revoke_device
from apps_registry.models import Device
from apps_registry.services import NewApp


def stored(device: Device) -> dict[str, Any]:
    return Device.objects.values("name", "user", "platform", "rooms", "token_version").get(pk=device.pk)


def test_a_new_device_is_stored_as_told(game: NewApp) -> None:
    device, created = register_device(
        app=game.app, name="phone-1", user="u1", platform="iOS 19", rooms=["room:lobby", "room:live-*"]
    )

    assert created is True
    assert (device.app, device.revoked_at) == (game.app, None)
    assert stored(device) == {
        "name": "phone-1",
        "user": "u1",
        "platform": "iOS 19",
        "rooms": ["room:lobby", "room:live-*"],
        "token_version": 1,
    }


def test_a_device_needs_no_user_platform_or_rooms(game: NewApp) -> None:
    device, _ = register_device(app=game.app, name="tab-1")

    assert stored(device) == {"name": "tab-1", "user": "", "platform": "", "rooms": [], "token_version": 1}


def test_the_same_again_changes_nothing(phone: Device) -> None:
    before = stored(phone)

    again, created = register_device(app=phone.app, name="phone-1", user="u1", rooms=["room:lobby"])

    assert (again, created) == (phone, False)
    assert stored(phone) == before


def test_rooms_and_platform_are_kept_when_not_told(game: NewApp) -> None:
    phone, _ = register_device(app=game.app, name="phone-1", user="u1", platform="iOS", rooms=["room:lobby"])

    register_device(app=game.app, name="phone-1", user="u1")

    assert (stored(phone)["platform"], stored(phone)["rooms"]) == ("iOS", ["room:lobby"])


def test_rooms_and_platform_change_without_voiding_tokens(phone: Device) -> None:
    again, _ = register_device(app=phone.app, name="phone-1", user="u1", platform="web", rooms=[])

    assert (again.platform, again.rooms, again.token_version) == ("web", [], 1)
    assert (stored(phone)["platform"], stored(phone)["rooms"]) == ("web", [])


@pytest.mark.parametrize("user", ["u2", ""])
def test_another_user_voids_the_tokens_of_the_one_before(phone: Device, user: str) -> None:
    again, created = register_device(app=phone.app, name="phone-1", user=user)

    assert (created, again.user, again.token_version) == (False, user, 2)
    assert (stored(phone)["user"], stored(phone)["token_version"]) == (user, 2)


def test_a_revoked_device_registered_again_is_active_with_new_tokens_only(phone: Device) -> None:
    revoke_device(device=phone)

    again, created = register_device(app=phone.app, name="phone-1", user="u1")

    assert (again.pk, created, again.revoked_at, again.token_version) == (phone.pk, False, None, 3)
    phone.refresh_from_db()
    assert (phone.revoked_at, phone.token_version) == (None, 3)


def test_two_apps_may_have_devices_of_one_name(phone: Device, taxi: NewApp) -> None:
    stranger, created = register_device(app=taxi.app, name="phone-1", user="u9")

    assert created is True
    assert stranger.pk != phone.pk
    assert stored(phone)["user"] == "u1"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "my phone"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"name": "phone\x00"}, "name"),
        ({"user": "u 1"}, "user"),
        ({"platform": "x" * 65}, "platform"),
        ({"platform": "a\x00b"}, "platform"),
        ({"platform": "\ud800"}, "platform"),
        ({"rooms": ["lobby"]}, "rooms"),
        ({"rooms": ["user:u2"]}, "rooms"),
        ({"rooms": ["*"]}, "rooms"),
        ({"rooms": [7]}, "rooms"),
        ({"rooms": "room:lobby"}, "rooms"),
        ({"rooms": {"room:lobby": 1}}, "rooms"),
        ({"rooms": [f"room:{number}" for number in range(1001)]}, "rooms"),
    ],
)
def test_a_wrong_device_is_refused_by_field_and_not_stored(game: NewApp, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        register_device(**{"app": game.app, "name": "phone-1", **wrong})

    assert list(refusal.value.message_dict) == [field]
    assert Device.objects.count() == 0


def test_a_wrong_value_is_repeated_shortened(game: NewApp) -> None:
    with pytest.raises(ValidationError) as refusal:
        register_device(app=game.app, name="!" * 5000)

    assert len(str(refusal.value)) < 300


def test_a_repeated_registration_is_one_read(phone: Device, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(3):  # savepoint, read, savepoint
        register_device(app=phone.app, name="phone-1", user="u1", rooms=["room:lobby"])
