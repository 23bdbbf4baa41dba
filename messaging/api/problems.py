"""Every refusal of the HTTP API as an RFC 9457 problem, with a code of the one registry."""

from __future__ import annotations

import logging
import math
import traceback
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation, ValidationError
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from rest_framework import exceptions

from apps_registry.errors import RegistryError
from messaging.protocol import wire
from messaging.protocol.errors import ProtocolError

logger = logging.getLogger("meanwhile.api")

MEDIA_TYPE = "application/problem+json"
#: Seconds after which what was refused for the moment may be tried again.
RETRY_AFTER = 1

#: DRF's own words to ours, where the exception says no more than its status.
_BY_STATUS = {
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    415: "unsupported_media_type",
    429: "rate_limited",
}


def handle(exc: Exception, context: dict[str, Any]) -> HttpResponse:
    """DRF's exception handler. What nobody foresaw is `internal`, logged without anything that was sent."""
    error = _as_error(exc)
    if error is None:
        # Where, not what: the exception's own words may repeat what was sent.
        lines = "".join(traceback.format_tb(exc.__traceback__))
        logger.error("%s in %s\n%s", type(exc).__name__, type(context.get("view")).__name__, lines)
        error = ProtocolError("internal")
    return response(error)


def response(error: ProtocolError) -> HttpResponse:
    """The problem, with the headers its status calls for."""
    answer = HttpResponse(wire.dumps(error.as_problem()), status=error.code.status, content_type=MEDIA_TYPE)
    answer["Cache-Control"] = "no-store"
    if error.code.status == 401:
        answer["WWW-Authenticate"] = "Bearer"
    if error.code.status in (429, 503):
        wait = error.extra.get("retry_after_ms", 0)
        answer["Retry-After"] = str(max(RETRY_AFTER, math.ceil(wait / 1000)))
    return answer


def _as_error(exc: Exception) -> ProtocolError | None:
    match exc:
        case ProtocolError():
            return exc
        case RegistryError():
            return ProtocolError(exc.code, exc.detail)
        case exceptions.ValidationError():
            return ProtocolError("invalid", **_told(exc.detail))
        case ValidationError():
            return ProtocolError("invalid", **_told(exc))
        case exceptions.ParseError():
            return ProtocolError("bad_json")
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return ProtocolError("bad_key")
        case exceptions.PermissionDenied() | PermissionDenied():
            return ProtocolError("not_allowed")
        case exceptions.APIException() if exc.status_code in _BY_STATUS:
            return ProtocolError(_BY_STATUS[exc.status_code])
        case Http404():
            return ProtocolError("not_found")
        case RequestDataTooBig():
            return ProtocolError("too_large")
        case SuspiciousOperation():
            return ProtocolError("invalid")
        case DatabaseError() | InterfaceError():
            logger.warning("the database refused: %s", type(exc).__name__)
            return ProtocolError("unavailable")
    return None


def _told(detail: Any) -> dict[str, Any]:
    """{"errors": {member: [sentences]}} of a ValidationError, Django's or DRF's; {} without members."""
    if isinstance(detail, ValidationError):
        errors = detail.message_dict if hasattr(detail, "error_dict") else {"": detail.messages}
    else:
        errors = detail if isinstance(detail, dict) else {"": detail}
    return {"errors": {member: _sentences(said) for member, said in errors.items()}}


def _sentences(said: Any) -> Any:
    if isinstance(said, dict):
        return {str(member): _sentences(more) for member, more in said.items()}
    return (
        [_sentences(one) if isinstance(one, dict) else str(one) for one in said] if isinstance(said, list) else [said]
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404: a problem below /api/, a page elsewhere."""
    if request.path_info.startswith("/api/"):
        return response(ProtocolError("not_found"))
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500, likewise. Django has logged it."""
    if request.path_info.startswith("/api/"):
        return response(ProtocolError("internal"))
    return defaults.server_error(request)
