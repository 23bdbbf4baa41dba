"""The text of service keys (credentials.py): no database."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from apps_registry import credentials

SECRET = "Ab3" + "x" * 40


def test_a_new_key_says_whose_it_is_and_is_read_back() -> None:
    text, prefix, digest = credentials.make()

    mw, shown_prefix, secret = text.split("_")
    assert (mw, shown_prefix, len(prefix), len(secret)) == ("mw", prefix, 12, 43)
    assert credentials.parse(text) == (prefix, secret)
    assert digest == hashlib.sha256(secret.encode()).hexdigest()


def test_no_two_keys_are_alike() -> None:
    keys = [credentials.make() for _ in range(200)]

    assert len({key.prefix for key in keys}) == 200
    assert len({key.digest for key in keys}) == 200


def test_the_secret_is_not_in_what_is_stored() -> None:
    text, prefix, digest = credentials.make()

    secret = text.split("_")[2]
    assert secret not in prefix + digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mw_",
        "mw__",
        "mw_0123456789ab_",
        f"mw_0123456789ab_{SECRET}x",
        f"mw_0123456789ab_{SECRET[1:]}",
        f"mw_0123456789aB_{SECRET}",
        f"MW_0123456789ab_{SECRET}",
        f" mw_0123456789ab_{SECRET}",
        f"mw_0123456789ab_{SECRET}\n",
        f"mw_0123456789a\x00_{SECRET}",
        f"mw_0123456789ab_{SECRET[:-1]}é",
        f"mw_0123456789a٣_{SECRET}",
        "eyJhbGciOiJIUzI1NiJ9.e30.x",
        "m" * 1_000_000,
    ],
)
def test_what_has_not_the_form_of_a_key_is_none(text: str) -> None:
    assert credentials.parse(text) is None


def test_a_key_is_split_at_its_underscores() -> None:
    assert credentials.parse(f"mw_0123456789ab_{SECRET}") == ("0123456789ab", SECRET)


def test_only_its_own_secret_matches_a_digest() -> None:
    digest = credentials.digest(SECRET)

    assert credentials.matches(SECRET, digest) is True
    assert credentials.matches(SECRET[:-1] + "y", digest) is False
    assert credentials.matches("", digest) is False
    assert credentials.matches(SECRET, "") is False
    assert credentials.matches(SECRET, digest.upper()) is False


def test_digests_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))

    credentials.matches("one", credentials.digest("two"))

    assert compared == [(credentials.digest("one").encode(), credentials.digest("two").encode())]
