"""Devices' endpoints for browsers on other origins: who may open sockets may pull, too. No cookies are involved."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from messaging.api.edge import Edge

#: Seconds a browser may remember the answer to its preflight.
REMEMBERED = 7200


def share(response: HttpResponseBase, origin: str) -> bool:
    """Lets a page of that origin read the response; False if it is not one that may open sockets."""
    patch_vary_headers(response, ["Origin"])
    if origin not in settings.MEANWHILE_ORIGINS:
        return False
    response["Access-Control-Allow-Origin"] = origin
    response["Access-Control-Expose-Headers"] = "Link, Retry-After, RateLimit, RateLimit-Policy"
    return True


class CrossOrigin(Edge):
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # A preflight carries no credential: it is answered before anybody is asked who they are.
        preflight = request.method == "OPTIONS"
        response = HttpResponse(status=204) if preflight else super().dispatch(request, *args, **kwargs)
        if share(response, request.headers.get("Origin", "")) and preflight:
            response["Access-Control-Allow-Methods"] = "GET, POST, PUT, DELETE"
            response["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            response["Access-Control-Max-Age"] = str(REMEMBERED)
        return response
