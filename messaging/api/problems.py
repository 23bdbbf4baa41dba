"""Every refusal of the HTTP API as an RFC 9457 problem, with a code of the one registry."""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import (
    DisallowedHost,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions

from apps_registry.errors import RegistryError
from messaging.protocol import wire
from messaging.protocol.errors import ProtocolError

logger = logging.getLogger("meanwhile.api")

MEDIA_TYPE = "application/problem+json"
#: Seconds after which what was refused for the moment may be tried again.
RETRY_AFTER = 1
#: Programs ask here: what goes wrong is a problem. Elsewhere people get a page.
_PROGRAMS = ("/api/", "/ws/", "/healthz", "/readyz", "/metrics")

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
        case DisallowedHost():
            return ProtocolError("bad_host")
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


def for_programs(path: str) -> bool:
    return path.startswith(_PROGRAMS)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400: a problem where programs ask, a page elsewhere."""
    if for_programs(request.path_info):
        return response(_as_error(exception) or ProtocolError("invalid"))
    return defaults.bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404, likewise."""
    if for_programs(request.path_info):
        return response(ProtocolError("not_found"))
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500, likewise. Django has logged it."""
    if for_programs(request.path_info):
        return response(ProtocolError("internal"))
    return defaults.server_error(request)


def only_looked_at(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Decorates a view without credentials: GET and HEAD, and a problem for what else programs try."""

    @csrf_exempt
    @wraps(view)
    def looked_at(request: HttpRequest) -> HttpResponse:
        if request.method in ("GET", "HEAD"):
            return view(request)
        refusal = response(ProtocolError("method_not_allowed"))
        refusal["Allow"] = "GET, HEAD"
        return refusal

    return looked_at


@csrf_exempt
def upgrade_required(request: HttpRequest) -> HttpResponse:
    """Where sockets begin, for a request that came without `Upgrade`: most often a proxy has dropped it."""
    detail = "Open a WebSocket here. If you did, a proxy in between probably dropped the header Upgrade."
    refusal = response(ProtocolError("upgrade_required", detail))
    refusal["Upgrade"] = "websocket"
    refusal["Connection"] = "Upgrade"
    return refusal
