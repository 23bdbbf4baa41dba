"""Errors as data: raised or returned inside, an `error` frame or a problem outside."""

from __future__ import annotations

from typing import Any

from messaging.protocol.codes import CODES, Code


class ProtocolError(Exception):
    """A documented refusal. `detail` says what exactly, never repeats data or tokens; `extra` goes out beside it."""

    def __init__(self, code: str, detail: str = "", **extra: Any) -> None:
        super().__init__(code, detail)
        self.code: Code = CODES[code]
        self.detail = detail
        self.extra = extra

    def as_problem(self) -> dict[str, Any]:
        """RFC 9457 members, for HTTP and for the items of a publish."""
        return {
            "type": f"urn:meanwhile:error:{self.code.name}",
            "title": self.code.title,
            "status": self.code.status,
            "detail": self.detail or self.code.title,
            "code": self.code.name,
            "temporary": self.code.temporary,
            **self.extra,
        }
