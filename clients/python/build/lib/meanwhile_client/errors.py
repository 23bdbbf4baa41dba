from __future__ import annotations

from typing import Any


class MeanwhileError(Exception):
    """A refusal by the server. `code` is for programs (docs/reference/errors.md); `temporary`: it may succeed later."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.code: str = said.get("code", "internal")
        self.detail: str = said.get("detail") or said.get("reason") or said.get("title") or self.code
        self.temporary: bool = bool(said.get("temporary", said.get("reconnect", False)))
        #: Seconds before which there is no use in trying again.
        self.retry_after: float = said.get("retry_after_ms", 0) / 1000
        self.said = said
        super().__init__(f"{self.code}: {self.detail}")


class ConnectionLost(MeanwhileError):
    """The connection ended before the answer came: what was asked may have happened or not."""

    def __init__(self, said: dict[str, Any] | None = None) -> None:
        super().__init__(
            {"code": "connection_lost", "detail": "The connection ended.", "temporary": True, **(said or {})}
        )
