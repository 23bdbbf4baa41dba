"""Device tokens (tokens.py): no database, and the clock is an argument."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest

from apps_registry import tokens
from apps_registry.errors import BadToken, TokenExpired

from .conftest import HOUR, NOW

KEY = "k" * 64
OTHER_KEY = "o" * 64
CLAIMS = {"iss": "meanwhile", "app": "game", "sub": "phone-1", "ver": 3, "iat": NOW, "exp": NOW + HOUR}


def issued(**changes: Any) -> str:
    told = {"app_name": "game", "device_name": "phone-1", "signing_key": KEY, "version": 3, "now": NOW, "life": HOUR}
    return tokens.issue(**{**told, **changes})


def forged(
    claims: dict[str, Any] | None = None,
    *,
    key: str | None = KEY,
    algorithm: str = "HS256",
    kid: Any = "game",
    **header: Any,
) -> str:
    """A token signed with the real key, if not told otherwise, with anything in it."""
    headers = {"kid": kid, **header} if kid is not None else header
    # PyJWS takes any payload; jwt.encode() would refuse to write some that have to be refused on reading.
    payload = json.dumps(CLAIMS if claims is None else claims).encode()
    return jwt.PyJWS().encode(payload, key or "", algorithm=algorithm, headers=headers)


def raw(header: str, payload: str, signature: str = "x") -> str:
    parts = (base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in (header, payload, signature))
    return ".".join(parts)


def refused(token: str, now: int = NOW) -> None:
    with pytest.raises(BadToken):
        tokens.verify(token, signing_key=KEY, now=now)


def test_an_issued_token_is_verified() -> None:
    claims = tokens.verify(issued(), signing_key=KEY, now=NOW + 1)

    assert claims == ("game", "phone-1", 3, NOW, NOW + HOUR)
    assert (claims.app, claims.device, claims.version) == ("game", "phone-1", 3)
    assert (claims.issued_at, claims.expires_at) == (NOW, NOW + HOUR)


def test_a_token_is_a_jwt_as_documented() -> None:
    token = issued()

    assert jwt.get_unverified_header(token) == {"alg": "HS256", "kid": "game", "typ": "JWT"}
    assert jwt.decode(token, options={"verify_signature": False}) == CLAIMS


def test_a_token_says_whose_it_claims_to_be_before_it_is_verified() -> None:
    assert tokens.read_unverified(issued()) == ("game", "phone-1")
    assert tokens.read_unverified(forged(key=OTHER_KEY)) == ("game", "phone-1")


@pytest.mark.parametrize("seconds", [-HOUR, 0, HOUR - 1, HOUR, HOUR + 29])
def test_a_token_is_good_until_thirty_seconds_after_its_end(seconds: int) -> None:
    assert tokens.verify(issued(), signing_key=KEY, now=NOW + seconds).device == "phone-1"


@pytest.mark.parametrize("seconds", [HOUR + 30, HOUR + 31, 100 * HOUR])
def test_a_token_has_expired_thirty_seconds_after_its_end(seconds: int) -> None:
    with pytest.raises(TokenExpired):
        tokens.verify(issued(), signing_key=KEY, now=NOW + seconds)


def test_the_clock_of_the_machine_plays_no_part() -> None:
    long_ago, far_ahead = issued(now=HOUR), issued(now=2 * NOW)

    assert tokens.verify(long_ago, signing_key=KEY, now=HOUR).issued_at == HOUR
    assert tokens.verify(far_ahead, signing_key=KEY, now=2 * NOW).issued_at == 2 * NOW


def test_a_token_that_expired_and_is_forged_is_only_called_forged() -> None:
    refused(forged(key=OTHER_KEY), now=NOW + 10 * HOUR)


def test_a_token_signed_with_another_key_is_refused() -> None:
    refused(issued(signing_key=OTHER_KEY))


def test_an_unsigned_token_is_refused() -> None:
    refused(forged(key=None, algorithm="none"))
    refused(issued().rpartition(".")[0] + ".")


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_is_refused_even_with_the_right_key(algorithm: str) -> None:
    refused(forged(algorithm=algorithm))


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "hs256", "RS256", "ES256", "EdDSA", "", None, 1, ["HS256"]]
)
def test_a_header_that_lies_about_the_algorithm_is_refused(algorithm: Any) -> None:
    _, payload, signature = issued().split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "game"}).encode()).rstrip(b"=").decode()

    refused(f"{header}.{payload}.{signature}")
    refused(f"{header}.{payload}.")


@pytest.mark.parametrize("claim", ["iss", "app", "sub", "ver", "iat", "exp"])
def test_a_token_without_a_claim_is_refused(claim: str) -> None:
    refused(forged({name: value for name, value in CLAIMS.items() if name != claim}))


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("iss", "somebody"),
        ("iss", ["meanwhile"]),
        ("iss", None),
        ("app", ""),
        ("app", "taxi"),
        ("app", 7),
        ("app", "game\x00"),
        ("sub", ""),
        ("sub", 7),
        ("sub", "phone 1"),
        ("sub", "x" * 129),
        ("sub", {"$ne": ""}),
        ("ver", "3"),
        ("ver", 3.0),
        ("ver", None),
        ("iat", "now"),
        ("iat", 1.5),
        ("exp", "never"),
        ("exp", None),
        ("exp", 1e300),
        ("exp", float("inf")),
        ("exp", float("nan")),
        ("aud", "somebody"),
    ],
)
def test_a_claim_of_the_wrong_kind_is_refused(claim: str, value: Any) -> None:
    refused(forged({**CLAIMS, claim: value}))


@pytest.mark.parametrize("kid", [None, "taxi", "", "game ", "Game"])
def test_a_token_whose_header_names_another_app_is_refused(kid: str | None) -> None:
    refused(forged(kid=kid))
    with pytest.raises(BadToken):
        tokens.read_unverified(forged(kid=kid))


def test_an_unknown_critical_header_is_refused() -> None:
    refused(forged(crit=["what"], what=1))


def test_a_changed_payload_is_refused() -> None:
    header, _, signature = issued().split(".")
    _, payload, _ = forged({**CLAIMS, "sub": "phone-2"}).split(".")

    refused(f"{header}.{payload}.{signature}")


def test_a_token_up_to_4096_characters_is_read_and_a_longer_one_is_not() -> None:
    fits = issued(device_name="p" * 128)
    room = 4096 - len(fits)
    largest = next(token for fill in range(room, 0, -1) if len(token := forged({**CLAIMS, "note": "n" * fill})) <= 4096)
    too_large = forged({**CLAIMS, "note": "n" * 4096})

    assert len(largest) > 4090
    assert tokens.verify(largest, signing_key=KEY, now=NOW).device == "phone-1"
    refused(too_large)
    with pytest.raises(BadToken):
        tokens.read_unverified(too_large)


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        ".",
        "..",
        "...",
        "abc",
        "a.b.c",
        "mw_0123456789ab_" + "x" * 43,
        "é" * 20,
        "\ud800",
        "\x00.\x00.\x00",
        "x" * 1_000_000,
        raw("[]", "{}"),
        raw("{}", "{}"),
        raw("null", "null"),
        raw('{"alg":"HS256","kid":"game"}', "[]"),
        raw('{"alg":"HS256","kid":"game"}', '"text"'),
        raw('{"alg":"HS256","kid":"game"}', "[" * 2900),
        raw("[" * 2900, "{}"),
        raw('{"alg":"HS256","kid":"game"}', '{"app":' * 400),
        raw('{"alg":"HS256","kid":"game"}', '{"exp":' + "9" * 2900 + "}"),
        raw('{"alg":"HS256","kid":["game"]}', json.dumps(CLAIMS)),
        raw('{"alg":"HS256","kid":"game","b64":false,"crit":["b64"]}', json.dumps(CLAIMS)),
    ],
    ids=lambda garbage: repr(garbage[:24]),
)
def test_garbage_is_refused_and_nothing_else_happens(garbage: str) -> None:
    refused(garbage)
    with pytest.raises(BadToken):
        tokens.read_unverified(garbage)


def test_a_refusal_has_a_code_and_never_repeats_the_token() -> None:
    token = forged(key=OTHER_KEY)

    with pytest.raises(BadToken) as refusal:
        tokens.verify(token, signing_key=KEY, now=NOW)

    assert refusal.value.code == "bad_token"
    assert token not in str(refusal.value)
    assert refusal.value.detail == "This is not a device token, or not one of this server."
