"""The API described: OpenAPI 3, and a page to try it. What each view says of itself comes through `described`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from messaging.api.problems import MEDIA_TYPE
from messaging.api.shapes import Problem
from messaging.protocol.codes import CODES
from messaging.protocol.names import MAX_OFFSET


class Schema(SpectacularAPIView):
    pass


class Docs(SpectacularSwaggerView):
    #: DRF's own answer to OPTIONS has nothing to say for a page.
    http_method_names = ("get", "head")  # type: ignore[assignment]


#: What can become of any request.
ALWAYS = ("internal", "overloaded", "unavailable")
FOR_DEVICES = ("bad_token", "token_expired", "device_revoked", "rate_limited")
FOR_SERVICES = ("bad_key", "wrong_scope", "rate_limited")
WITH_BODY = ("bad_json", "too_deep", "too_large", "invalid", "unsupported_media_type")


def described(
    name: str,
    summary: str,
    answers: Mapping[int, Any],
    *refusals: str,
    request: Any = None,
    query: Sequence[OpenApiParameter] = (),
) -> Callable[..., Any]:
    """Decorates a view's method. answers: shape by status. refusals: codes of the registry.

    name: of the operation. summary: what one does with it, in the words of the table of docs/reference/http-api.md.
    """
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in (*refusals, *ALWAYS):
        by_status[CODES[code].status].append(code)
    responses: dict[Any, Any] = {
        status: shape or OpenApiResponse(description="Done.") for status, shape in answers.items()
    }
    for status, codes in sorted(by_status.items()):
        described_as = f"{HTTPStatus(status).phrase}: {', '.join(dict.fromkeys(codes))}."
        responses[status, MEDIA_TYPE] = OpenApiResponse(Problem, described_as)
    return extend_schema(
        operation_id=name,
        summary=summary,
        tags=["For devices" if set(FOR_DEVICES) <= set(refusals) else "For services"],
        request=request,
        responses=responses,
        parameters=list(query),
    )


def asks(name: str, kind: Any, description: str, **more: Any) -> OpenApiParameter:
    """A query parameter."""
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=description, **more)


def counts(name: str, description: str, *, least: int = 0, most: int = MAX_OFFSET) -> OpenApiParameter:
    """A query parameter that is a whole number within these limits, as `params.whole` reads it."""
    return asks(name, {"type": "integer", "minimum": least, "maximum": most}, description)


#: Items of a list's page at most.
MOST_LISTED = 1000
LIMIT = counts("limit", "Items of a page.", least=1, most=MOST_LISTED)
CURSOR = asks("cursor", OpenApiTypes.STR, "`next` of the page before.")
