from __future__ import annotations

import datetime as dt
import logging
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from apps_registry.credentials import digest
from apps_registry.errors import BadKey
from apps_registry.models import ServiceKey
from apps_registry.services import NewApp, authenticate_key, create_key, create_service, revoke_key

MINUTE = dt.timedelta(minutes=1)
SECOND = dt.timedelta(seconds=1)


def test_a_key_opens_its_own_service(game: NewApp, taxi: NewApp) -> None:
    stats = create_service(app=game.app, name="stats")
    _, stats_key = create_key(service=stats, scopes=["read"])

    assert authenticate_key(game.key).service == game.service
    assert authenticate_key(taxi.key).service.app == taxi.app
    assert (authenticate_key(stats_key).service, authenticate_key(stats_key).scopes) == (stats, ["read"])


def test_only_prefix_and_digest_are_stored(game: NewApp) -> None:
    key, text = create_key(service=game.service, scopes=["manage", "publish", "publish"])

    row = ServiceKey.objects.filter(pk=key.pk).values("prefix", "digest", "scopes").get()
    secret = text.split("_")[2]
    assert row == {"prefix": text.split("_")[1], "digest": digest(secret), "scopes": ["publish", "manage"]}
    assert secret not in repr(ServiceKey.objects.filter(pk=key.pk).values().get())


def test_a_key_is_never_logged(game: NewApp, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    _, text = create_key(service=game.service, scopes=["read"])

    assert "key created service=game/backend" in caplog.text
    assert text.split("_")[2] not in caplog.text


@pytest.mark.parametrize("scopes", [[], ["admin"], ["publish", "admin"], ["Publish"], "publish"])
def test_a_key_holds_one_or_more_known_scopes(game: NewApp, scopes: Any) -> None:
    with pytest.raises(ValidationError) as refusal:
        create_key(service=game.service, scopes=scopes)

    assert refusal.value.message_dict == {"scopes": ["Say one or more of publish, read, manage."]}


def test_a_key_is_found_with_its_service_and_app_in_one_query(game: NewApp, django_assert_num_queries: Any) -> None:
    authenticate_key(game.key)

    with django_assert_num_queries(1):
        assert authenticate_key(game.key).service.app.name == "game"


def test_the_secret_of_another_key_does_not_open_this_one(game: NewApp, taxi: NewApp) -> None:
    _, prefix, _ = game.key.split("_")
    _, _, other_secret = taxi.key.split("_")

    with pytest.raises(BadKey):
        authenticate_key(f"mw_{prefix}_{other_secret}")


def test_a_key_nobody_made_is_refused(game: NewApp) -> None:
    _, _, secret = game.key.split("_")

    with pytest.raises(BadKey) as refusal:
        authenticate_key(f"mw_000000000000_{secret}")

    assert refusal.value.code == "bad_key"


@pytest.mark.parametrize("text", ["", "mw_", "\x00", "é", "Bearer x", "a.b.c", "x" * 100_000])
def test_what_is_no_key_is_refused_without_a_query(db: None, text: str, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0), pytest.raises(BadKey):
        authenticate_key(text)


def test_a_revoked_key_is_refused_and_the_others_go_on(game: NewApp) -> None:
    second, second_text = create_key(service=game.service, scopes=["publish"])

    assert revoke_key(key=authenticate_key(game.key)) is True

    with pytest.raises(BadKey):
        authenticate_key(game.key)
    assert authenticate_key(second_text) == second


def test_revoking_twice_keeps_the_first_time(game: NewApp) -> None:
    key = authenticate_key(game.key)
    revoke_key(key=key)
    first = key.revoked_at

    assert revoke_key(key=key) is False
    assert first is not None
    assert ServiceKey.objects.get(pk=key.pk).revoked_at == first


def test_last_use_is_written_at_most_once_a_minute(game: NewApp, django_assert_num_queries: Any) -> None:
    start = timezone.now()

    authenticate_key(game.key, now=start)
    with django_assert_num_queries(1):
        assert authenticate_key(game.key, now=start + MINUTE - SECOND).last_used_at == start
    with django_assert_num_queries(2):
        assert authenticate_key(game.key, now=start + MINUTE).last_used_at == start + MINUTE

    assert ServiceKey.objects.get(service=game.service).last_used_at == start + MINUTE


def test_a_refused_key_counts_as_no_use(game: NewApp) -> None:
    _, prefix, _ = game.key.split("_")

    with pytest.raises(BadKey):
        authenticate_key(f"mw_{prefix}_{'x' * 43}")

    assert ServiceKey.objects.get(prefix=prefix).last_used_at is None
