from __future__ import annotations

import datetime as dt
from typing import Any

import jwt
import pytest

from apps_registry import tokens
from apps_registry.devices import (
    authenticate_device,
    issue_token,
    open_token,
    register_device,
    renew_tokens,
    revoke_device,
)
from apps_registry.errors import BadToken, DeviceRevoked, TokenExpired
from apps_registry.models import Device
from apps_registry.services import NewApp, rotate_signing_key

from .conftest import HOUR, NOW


@pytest.fixture
def token(phone: Device) -> str:
    return issue_token(device=phone, life=HOUR, now=NOW)[0]


def test_a_device_comes_in_with_its_token(phone: Device, token: str) -> None:
    assert authenticate_device(token, now=NOW) == phone


def test_the_end_of_a_token_is_told(phone: Device) -> None:
    _, expires_at = issue_token(device=phone, life=HOUR, now=NOW)

    assert expires_at == dt.datetime(2026, 11, 22, 11, 0, tzinfo=dt.UTC)


def test_a_token_opened_gives_the_claims_too(phone: Device, token: str) -> None:
    device, claims = open_token(token, now=NOW)

    assert device == phone
    assert (claims.version, claims.expires_at) == (1, NOW + HOUR)


def test_without_a_time_told_the_clock_counts(phone: Device) -> None:
    token, expires_at = issue_token(device=phone, life=HOUR)

    left = expires_at - dt.datetime.now(dt.UTC)
    assert dt.timedelta(minutes=59) < left <= dt.timedelta(hours=1)
    assert authenticate_device(token) == phone


def test_a_device_is_found_with_its_app_in_one_query(token: str, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert authenticate_device(token, now=NOW).app.name == "game"


@pytest.mark.parametrize("text", ["", "a.b.c", "\x00", "x" * 5000, "mw_0123456789ab_" + "x" * 43])
def test_what_is_no_token_is_refused_without_a_query(db: None, text: str, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0), pytest.raises(BadToken):
        authenticate_device(text, now=NOW)


def test_two_tokens_of_a_device_are_good_together(phone: Device, token: str) -> None:
    later, _ = issue_token(device=phone, life=HOUR, now=NOW + 60)

    assert authenticate_device(token, now=NOW + 61) == phone
    assert authenticate_device(later, now=NOW + 61) == phone


def test_an_expired_token_is_refused_after_the_leeway(phone: Device, token: str) -> None:
    assert authenticate_device(token, now=NOW + HOUR + 29) == phone
    with pytest.raises(TokenExpired) as refusal:
        authenticate_device(token, now=NOW + HOUR + 30)

    assert refusal.value.code == "token_expired"


def test_a_revoked_device_is_told_so(phone: Device, token: str) -> None:
    assert revoke_device(device=phone) is True

    with pytest.raises(DeviceRevoked) as refusal:
        authenticate_device(token, now=NOW)
    assert refusal.value.code == "device_revoked"


def test_a_stranger_does_not_learn_that_a_device_is_revoked(phone: Device) -> None:
    revoke_device(device=phone)
    forged = tokens.issue(app_name="game", device_name="phone-1", signing_key="f" * 64, version=2, now=NOW, life=HOUR)

    with pytest.raises(BadToken):
        authenticate_device(forged, now=NOW)


def test_revoking_twice_changes_nothing_more(phone: Device) -> None:
    revoke_device(device=phone)
    revoked_at, version = phone.revoked_at, phone.token_version

    assert revoke_device(device=phone) is False
    phone.refresh_from_db()
    assert (phone.revoked_at, phone.token_version) == (revoked_at, version)
    assert version == 2


def test_a_revoked_device_gets_no_token(phone: Device) -> None:
    revoke_device(device=phone)

    with pytest.raises(DeviceRevoked):
        issue_token(device=phone, life=HOUR, now=NOW)


def test_a_token_from_before_the_revocation_stays_void(phone: Device, token: str) -> None:
    revoke_device(device=phone)
    again, _ = register_device(app=phone.app, name="phone-1", user="u1")
    fresh, _ = issue_token(device=again, life=HOUR, now=NOW)

    assert authenticate_device(fresh, now=NOW) == phone
    with pytest.raises(BadToken):
        authenticate_device(token, now=NOW)


def test_renewing_voids_the_tokens_before(phone: Device, token: str) -> None:
    renew_tokens(device=phone)
    fresh, _ = issue_token(device=phone, life=HOUR, now=NOW)

    assert phone.token_version == 2
    assert authenticate_device(fresh, now=NOW) == phone
    with pytest.raises(BadToken) as refusal:
        authenticate_device(token, now=NOW)
    assert refusal.value.detail == "The device token has been made void; the device needs a new one."


def test_renewing_one_device_leaves_the_others_alone(phone: Device, token: str) -> None:
    tablet, _ = register_device(app=phone.app, name="tablet-1", user="u1")

    renew_tokens(device=tablet)

    assert authenticate_device(token, now=NOW) == phone


def test_a_token_of_another_user_of_the_device_is_void(phone: Device, token: str) -> None:
    register_device(app=phone.app, name="phone-1", user="u2")

    with pytest.raises(BadToken):
        authenticate_device(token, now=NOW)


def test_rotating_the_signing_key_voids_the_tokens_of_this_app_only(phone: Device, token: str, taxi: NewApp) -> None:
    car, _ = register_device(app=taxi.app, name="car-1")
    cars_token, _ = issue_token(device=car, life=HOUR, now=NOW)

    rotate_signing_key(app=phone.app)

    with pytest.raises(BadToken):
        authenticate_device(token, now=NOW)
    assert authenticate_device(cars_token, now=NOW) == car
    phone.refresh_from_db()
    assert authenticate_device(issue_token(device=phone, life=HOUR, now=NOW)[0], now=NOW) == phone


def test_a_token_of_one_app_does_not_open_the_same_device_of_another(phone: Device, taxi: NewApp, token: str) -> None:
    stranger, _ = register_device(app=taxi.app, name="phone-1")
    strangers_token, _ = issue_token(device=stranger, life=HOUR, now=NOW)

    assert authenticate_device(strangers_token, now=NOW) == stranger
    assert authenticate_device(token, now=NOW) == phone


def test_an_app_cannot_sign_for_another(phone: Device, taxi: NewApp) -> None:
    def signed_by_taxi(claimed_app: str, kid: str) -> str:
        claims = {"iss": "meanwhile", "app": claimed_app, "sub": "phone-1", "ver": 1, "iat": NOW, "exp": NOW + HOUR}
        return jwt.encode(claims, taxi.app.signing_key, algorithm="HS256", headers={"kid": kid})

    register_device(app=taxi.app, name="phone-1")

    for forged in (signed_by_taxi("game", "game"), signed_by_taxi("game", "taxi"), signed_by_taxi("taxi", "game")):
        with pytest.raises(BadToken):
            authenticate_device(forged, now=NOW)


def test_a_device_that_is_not_registered_is_refused(phone: Device, token: str) -> None:
    phone.delete()

    with pytest.raises(BadToken):
        authenticate_device(token, now=NOW)
