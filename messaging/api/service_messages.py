"""Services publish, and ask what became of a message."""

from __future__ import annotations

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter
from msgspec import Raw, Struct
from rest_framework.request import Request

from apps_registry.models import Scope
from messaging import publishing
from messaging.api import shapes
from messaging.api.edge import ServiceView, decoded, key_of, text_answer
from messaging.api.parsers import JSONTextParser, body_text
from messaging.api.schema import FOR_SERVICES, WITH_BODY, described
from messaging.live import node
from messaging.log.answers import Answer
from messaging.protocol.errors import ProtocolError


class MessagesBody(Struct):
    #: Decoded one by one: a bad one does not sink the others, and `data` stays the text it came as.
    messages: list[Raw]


class Messages(ServiceView):
    parser_classes = (JSONTextParser,)
    writing = Scope.PUBLISH

    @described(
        "publish",
        "Publish messages",
        {200: shapes.Published},
        "idempotency_mismatch",
        *WITH_BODY,
        *FOR_SERVICES,
        request=shapes.MessagesBody,
        query=[
            OpenApiParameter(
                "Idempotency-Key", str, OpenApiParameter.HEADER, description="The same again gets the stored answer."
            )
        ],
    )
    def post(self, request: Request) -> HttpResponse:
        text = body_text(request)
        asked = publishing.request(
            decoded(text, MessagesBody).messages,
            key=key_of(request),
            idempotency_key=_idempotency_key(request),
            body=text.encode(),
        )
        self.spend(request, *zip(publishing.rules(key_of(request)), publishing.costs(asked), strict=True))
        done: Answer = node.current().journal.call(asked)
        replayed = {"Idempotent-Replayed": "true"} if done.replayed else {}
        return text_answer(f'{{"items":{done.items}}}', headers=replayed)


def _idempotency_key(request: Request) -> str:
    key: str | None = request.headers.get("Idempotency-Key")
    if key is None:
        return ""
    if not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise ProtocolError("invalid", "An Idempotency-Key has 1 to 255 printable ASCII characters.")
    return key
