"""Why somebody was not let in. The code is the one that frames, problems and the SDK know."""

from __future__ import annotations

from typing import ClassVar


class RegistryError(Exception):
    """Refused: `code` is stable and for programs, `detail` is for people and never holds a token or key."""

    code: ClassVar[str]

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadToken(RegistryError):
    code = "bad_token"


class TokenExpired(RegistryError):
    code = "token_expired"


class DeviceRevoked(RegistryError):
    code = "device_revoked"


class BadKey(RegistryError):
    code = "bad_key"


class UnknownKey(RegistryError):
    code = "unknown_key"


class TooManyKeys(RegistryError):
    code = "too_many_keys"


class LastKey(RegistryError):
    code = "last_key"


class WrongScope(RegistryError):
    code = "wrong_scope"
