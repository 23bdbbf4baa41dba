"""Device tokens: JWT, HS256, signed with the app's key. No database and no clock: `now` is passed in (Unix seconds).

Header: kid = app. Claims: iss "meanwhile", app, sub (device), ver (Device.token_version), iat, exp.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import jwt
from jwt.types import Options

from apps_registry.errors import BadToken, TokenExpired
from apps_registry.names import is_name

ALGORITHM = "HS256"
ISSUER = "meanwhile"
#: The clocks of two servers may differ by so much (s).
LEEWAY = 30
#: A token is refused unread beyond (characters).
MAX_LENGTH = 4096
#: Tokens whose claims are kept in memory.
REMEMBERED = 4096

_REQUIRED = ["iss", "app", "sub", "ver", "iat", "exp"]
#: Everything that PyJWT would compare with its own clock.
_NO_CLOCK: Options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}


class Claims(NamedTuple):
    app: str
    device: str
    version: int
    issued_at: int
    expires_at: int


def issue(*, app_name: str, device_name: str, signing_key: str, version: int, now: int, life: int) -> str:
    """A token that is good until now + life."""
    claims = {"iss": ISSUER, "app": app_name, "sub": device_name, "ver": version, "iat": now, "exp": now + life}
    return jwt.encode(claims, signing_key, algorithm=ALGORITHM, headers={"kid": app_name})


def read_unverified(token: str) -> tuple[str, str]:
    """(app, device) that the token claims to be for: good for finding the signing key, and for nothing else.

    Both are well-formed names, safe to look up. Raises BadToken.
    """
    claims = _unverified(token)
    return claims.app, claims.device


def verify(token: str, *, signing_key: str, now: int) -> Claims:
    """The claims of a token that this key signed and that has not expired. Raises BadToken, TokenExpired."""
    claims = _verified(token, signing_key)
    if now >= claims.expires_at + LEEWAY:
        raise TokenExpired("The device token has expired.")
    return claims


# What a token says and whether a key signed it never changes, and a device shows the same token with every request:
# reading it twice was a tenth of a pull. Refusals are not remembered.


@lru_cache(maxsize=REMEMBERED)
def _unverified(token: str) -> Claims:
    return _claims(token, "", {"verify_signature": False})


@lru_cache(maxsize=REMEMBERED)
def _verified(token: str, signing_key: str) -> Claims:
    return _claims(token, signing_key, {**_NO_CLOCK, "require": _REQUIRED})


def _claims(token: str, signing_key: str, options: Options) -> Claims:
    if len(token) > MAX_LENGTH:
        raise BadToken("This is not a device token.")
    try:
        decoded = jwt.decode_complete(token, signing_key, algorithms=[ALGORITHM], issuer=ISSUER, options=options)
    except (jwt.PyJWTError, ValueError) as error:  # ValueError: a lone surrogate
        raise BadToken("This is not a device token, or not one of this server.") from error
    return _checked(decoded["header"], decoded["payload"])


def _checked(header: dict[str, Any], payload: dict[str, Any]) -> Claims:
    match payload:
        case {"app": str(app), "sub": str(device), "ver": int(version), "iat": int(issued_at), "exp": int(expires_at)}:
            claims = Claims(app, device, version, issued_at, expires_at)
        case _:
            raise BadToken("The device token lacks a claim.")
    if not (is_name(app) and is_name(device)):
        raise BadToken("The device token does not name an app and a device.")
    if header.get("kid") != app:
        raise BadToken("The device token names two apps.")
    return claims
