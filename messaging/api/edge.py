"""What all views of the API share: who may come in, what a body is, how an answer goes out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from msgspec import Struct
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from apps_registry.authentication import ServiceAuthentication, has_scope
from apps_registry.models import App, Device, Scope, ServiceKey
from messaging.live import node
from messaging.live.limits import Rule, Verdict, rule
from messaging.log.verbs import Outcome
from messaging.protocol import wire
from messaging.protocol.errors import ProtocolError

Body = TypeVar("Body", bound=Struct)

READING = frozenset({"GET", "HEAD", "OPTIONS"})
#: Seconds a request waits for the Journal.
PATIENCE = 30


class Edge(APIView):
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        # DRF's request refers to itself: body and answer would stay in memory until the garbage collector comes round,
        # which is seldom (manage.py serve), and it counts objects, not megabytes.
        self.request.parser_context.clear()
        vars(self).clear()
        return response

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        # A body sent in chunks has no length, and DRF would take it for empty.
        if "CONTENT_LENGTH" not in request.META:
            request.META["CONTENT_LENGTH"] = str(len(request.body))
        return super().initialize_request(request, *args, **kwargs)

    def spend(self, request: Request, *prices: tuple[Rule, int]) -> None:
        """Counts the request against its limits, or raises `rate_limited`; the answer tells what remains."""
        request.verdicts = told = []  # type: ignore[attr-defined]
        for limit, cost in prices:
            verdict = node.current().limits.spend(limit, cost)
            told.append(verdict)
            verdict.check()

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        verdicts: list[Verdict] = getattr(request, "verdicts", [])
        if verdicts:
            response["RateLimit-Policy"] = ", ".join(verdict.policy() for verdict in verdicts)
            response["RateLimit"] = ", ".join(verdict.state() for verdict in verdicts)
        return super().finalize_response(request, response, *args, **kwargs)


class ServiceView(Edge):
    """For services: `Authorization: Bearer SERVICE_KEY`, scope `reading` to look, `writing` to change."""

    authentication_classes = (ServiceAuthentication,)
    reading = Scope.READ
    writing = Scope.MANAGE

    def get_permissions(self) -> list[BasePermission]:
        return [has_scope(self.scope)()]

    @property
    def scope(self) -> Scope:
        return self.reading if self.request.method in READING else self.writing

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        # A publish costs what it holds: counted when that is known.
        if self.scope != Scope.PUBLISH:
            self.spend(request, (rule(self.scope, key_of(request).pk), 1))


def device_of(request: Request) -> Device:
    assert isinstance(request.auth, Device)
    return request.auth


def key_of(request: Request) -> ServiceKey:
    assert isinstance(request.auth, ServiceKey)
    return request.auth


def app_of(request: Request) -> App:
    """The tenant: every look-up of a service's view starts here (P9)."""
    return key_of(request).service.app


def decoded(text: str | bytes | msgspec.Raw, kind: type[Body]) -> Body:
    """A body as a struct; the text has passed `jsontext.strict`. Raises `invalid`."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise ProtocolError("invalid", str(error)) from None


def text_answer(text: str, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    """JSON text as it is. Answers are about now: no cache may keep them."""
    return HttpResponse(
        text, status=status, content_type="application/json", headers={"Cache-Control": "no-store", **(headers or {})}
    )


def answer(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return text_answer(wire.dumps(value), status=status, headers=headers)


def outcomes(bodies: Sequence[Any]) -> list[Outcome]:
    """What the Journal made of each, refusals among them; handed in together, so that they commit together."""
    journal = node.current().journal
    waiting: list[Future[Outcome]] = []
    for body in bodies:
        future: Future[Outcome] = Future()
        waiting.append(future)
        try:
            journal.submit(body, future.set_result, direct=True)
        except ProtocolError as error:
            future.set_result(error)
    return [_outcome(future) for future in waiting]


def _outcome(future: Future[Outcome]) -> Outcome:
    try:
        return future.result(PATIENCE)
    except TimeoutError:
        return ProtocolError("unavailable", "The outcome is not known in time.")
