"""The admin's pages load, show no secret, and their actions do what the services do."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from apps_registry.devices import authenticate_device, issue_token
from apps_registry.errors import BadKey, BadToken
from apps_registry.models import App, Device, MessageType, Service, ServiceKey
from apps_registry.services import MOST_KEYS, NewApp, authenticate_key, create_key

KEY = re.compile(r"mw_[0-9a-z]{12}_[0-9A-Za-z]{43}")
MODELS = [App, Service, ServiceKey, MessageType, Device]


def page(client: Client, model: type, tail: str = "") -> str:
    response = client.get(f"/admin/apps_registry/{model.__name__.lower()}/{tail}")
    assert response.status_code == 200, (model, tail, response.status_code)
    return response.content.decode()


def act(client: Client, model: type, action: str, *rows: object, **answer: str) -> str:
    """Runs an action on the chosen rows; returns the page that follows."""
    pks = [row.pk for row in rows]  # type: ignore[attr-defined]
    chosen = {"action": action, "_selected_action": pks, **(answer or {"confirmed": "yes"})}
    response = client.post(f"/admin/apps_registry/{model.__name__.lower()}/", chosen, follow=True)
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("who", ["operator", "viewer"])
def test_pages_load_and_show_no_secret(who: str, request: pytest.FixtureRequest, game: NewApp, phone: Device) -> None:
    client: Client = request.getfixturevalue(who)
    secrets = [game.app.signing_key, game.key.split("_")[2], ServiceKey.objects.get().digest]

    for model in MODELS:
        row = model.objects.first()
        for tail in ("", "?q=game", f"{row.pk}/change/"):
            shown = page(client, model, tail)
            assert not [secret for secret in secrets if secret in shown], (model, tail)


@pytest.mark.parametrize("model", [App, Service, MessageType])
def test_what_operators_edit_can_be_added(operator: Client, game: NewApp, model: type) -> None:
    assert "save" in page(operator, model, "add/").lower()


@pytest.mark.parametrize("model", [ServiceKey, Device])
def test_keys_and_devices_are_not_made_in_a_form(operator: Client, game: NewApp, model: type) -> None:
    assert operator.get(f"/admin/apps_registry/{model.__name__.lower()}/add/").status_code == 403


def test_an_app_made_in_the_admin_signs_with_its_own_key(operator: Client) -> None:
    form = {"name": "shop"}
    for prefix in ("services", "types"):
        form |= {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}

    response = operator.post("/admin/apps_registry/app/add/", form)

    assert response.status_code == 302
    assert len(App.objects.get(name="shop").signing_key) == 64


def test_a_new_key_is_shown_once(operator: Client, game: NewApp) -> None:
    shown = act(operator, Service, "new_key", game.service)

    (text,) = KEY.findall(shown)
    assert authenticate_key(text).service == game.service
    assert authenticate_key(text).scopes == ["publish", "read", "manage"]
    assert KEY.findall(page(operator, Service)) == []
    assert KEY.findall(page(operator, Service, f"{game.service.pk}/change/")) == []


def test_a_new_key_may_be_good_for_publishing_only(operator: Client, game: NewApp) -> None:
    (text,) = KEY.findall(act(operator, Service, "new_publish_key", game.service))

    assert authenticate_key(text).scopes == ["publish"]


def test_keys_are_made_for_one_service_at_a_time(operator: Client, game: NewApp, taxi: NewApp) -> None:
    shown = act(operator, Service, "new_key", game.service, taxi.service)

    assert "Choose one service." in shown
    assert ServiceKey.objects.count() == 2


def test_keys_are_revoked_and_counted(operator: Client, game: NewApp, taxi: NewApp) -> None:
    key = ServiceKey.objects.get(service=game.service)

    assert "Keys revoked: 1." in act(operator, ServiceKey, "revoke", key)
    assert "Keys revoked: 0." in act(operator, ServiceKey, "revoke", key)

    with pytest.raises(BadKey):
        authenticate_key(game.key)
    assert authenticate_key(taxi.key).service == taxi.service


def test_devices_are_revoked_and_counted(operator: Client, phone: Device) -> None:
    assert "Devices revoked: 1." in act(operator, Device, "revoke", phone)

    phone.refresh_from_db()
    assert phone.revoked_at is not None
    assert phone.token_version == 2


def test_all_tokens_of_an_app_are_voided(operator: Client, phone: Device) -> None:
    token, _ = issue_token(device=phone, life=60)

    assert "All device tokens are void for: game." in act(operator, App, "void_device_tokens", phone.app)

    with pytest.raises(BadToken):
        authenticate_device(token)


def test_somebody_who_may_only_look_can_do_nothing(viewer: Client, game: NewApp, phone: Device) -> None:
    act(viewer, Service, "new_key", game.service)
    act(viewer, ServiceKey, "revoke", ServiceKey.objects.get())
    act(viewer, Device, "revoke", phone)
    act(viewer, App, "void_device_tokens", game.app)

    assert ServiceKey.objects.count() == 1
    assert authenticate_key(game.key).service == game.service
    phone.refresh_from_db()
    assert phone.revoked_at is None
    assert App.objects.get(name="game").signing_key == game.app.signing_key


def test_a_delivery_is_changed_in_the_list(operator: Client, game: NewApp) -> None:
    weather, turn = (game.app.types.get(name=name) for name in ("weather", "turn"))
    form = {"form-TOTAL_FORMS": "2", "form-INITIAL_FORMS": "2", "_save": "Save"}
    for index, (row, delivery) in enumerate([(turn, "every"), (weather, "transient")]):
        form |= {f"form-{index}-id": str(row.pk), f"form-{index}-delivery": delivery}

    response = operator.post("/admin/apps_registry/messagetype/", form)

    assert response.status_code == 302
    assert dict(game.app.types.values_list("name", "delivery")) == {"turn": "every", "weather": "transient"}


def test_a_type_reports_to_services_of_its_own_app_only(operator: Client, game: NewApp, taxi: NewApp) -> None:
    turn = game.app.types.get(name="turn")
    address = f"/admin/apps_registry/messagetype/{turn.pk}/change/"
    form = {
        "delivery": "every",
        "priority": "normal",
        "result_required": "on",
        "on_failure": "continue",
        "ttl_seconds": "",
    }

    refused = operator.post(address, form | {"report_to": [taxi.service.pk]})
    assert "Not services of the app game: backend." in refused.content.decode()
    assert turn.report_to.count() == 0

    assert operator.post(address, form | {"report_to": [game.service.pk]}).status_code == 302
    assert list(turn.report_to.all()) == [game.service]


def test_the_rooms_of_a_device_are_checked(operator: Client, phone: Device) -> None:
    address = f"/admin/apps_registry/device/{phone.pk}/change/"

    refused = operator.post(address, {"platform": "web", "rooms": '["user:u2"]'})
    assert "is not a room: say room:NAME" in refused.content.decode()

    assert operator.post(address, {"platform": "web", "rooms": '["room:live-*"]'}).status_code == 302
    phone.refresh_from_db()
    assert (phone.platform, phone.rooms, phone.user) == ("web", ["room:live-*"], "u1")


def test_names_that_credentials_carry_cannot_be_changed(operator: Client, phone: Device) -> None:
    operator.post(f"/admin/apps_registry/device/{phone.pk}/change/", {"name": "x", "user": "u2", "rooms": "[]"})

    phone.refresh_from_db()
    assert (phone.name, phone.user) == ("phone-1", "u1")
    assert 'name="name"' not in page(operator, App, f"{phone.app.pk}/change/")


def test_a_service_with_as_many_keys_as_it_may_have_gets_no_other(operator: Client, game: NewApp) -> None:
    for _ in range(MOST_KEYS - 1):
        create_key(service=game.service, scopes=["read"])

    shown = act(operator, Service, "new_key", game.service)

    assert f"at most {MOST_KEYS} keys" in shown
    assert ServiceKey.objects.count() == MOST_KEYS


def test_an_operator_may_revoke_the_last_key(operator: Client, game: NewApp) -> None:
    act(operator, ServiceKey, "revoke", ServiceKey.objects.get())

    assert ServiceKey.objects.get().revoked_at is not None


@pytest.mark.parametrize("action", ["void_device_tokens", "revoke key", "revoke device"])
def test_what_cannot_be_taken_back_asks_first_and_says_what_it_is_about(
    operator: Client, game: NewApp, phone: Device, action: str
) -> None:
    row = {"void_device_tokens": game.app, "revoke key": ServiceKey.objects.get(), "revoke device": phone}[action]

    asked = act(operator, type(row), action.split()[0], row, confirmed_not="yet")

    assert f"<li>{row}" in asked
    assert 'name="confirmed" value="yes"' in asked
    assert authenticate_key(game.key)
    assert not Device.objects.filter(revoked_at__isnull=False).exists()
    assert App.objects.get(pk=game.app.pk).signing_key == game.app.signing_key


def test_who_revoked_a_device_is_in_its_history(operator: Client, phone: Device) -> None:
    act(operator, Device, "revoke", phone)

    assert "Revoked." in page(operator, Device, f"{phone.pk}/history/")
