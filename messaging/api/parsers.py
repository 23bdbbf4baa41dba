"""Request bodies: strict JSON, or a documented refusal. Never a 500 for what somebody sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from messaging.protocol import jsontext
from messaging.protocol.errors import ProtocolError

#: Levels a body has around `data`: {"messages": [{"data": …}]}.
ENVELOPE = 3


def _text(stream: IO[bytes]) -> tuple[str, Any]:
    """The body as text, and what it says. Raises `too_large`, `bad_json`, `too_deep`."""
    raw = stream.read(settings.MEANWHILE_MAX_BODY + 1)
    if len(raw) > settings.MEANWHILE_MAX_BODY:
        raise ProtocolError("too_large", f"A body has at most {settings.MEANWHILE_MAX_BODY} bytes.")
    text = jsontext.text_of(raw)
    return text, jsontext.strict(text, max_depth=settings.MEANWHILE_MAX_DEPTH + ENVELOPE)


class StrictJSONParser(BaseParser):
    """`request.data` is the decoded value."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return _text(stream)[1]


class JSONTextParser(StrictJSONParser):
    """`request.data` is the text itself, which has passed `jsontext.strict`: payloads stay as they came."""

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return _text(stream)[0]


def body_text(request: Request) -> str:
    """The text of a body read by `JSONTextParser`. Raises `bad_json` where there is none."""
    if not isinstance(request.data, str):
        raise ProtocolError("bad_json", "The body is empty.")
    return request.data
