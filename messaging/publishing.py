"""The one door in for messages: the API, the service socket and `messaging.publish()` come through here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction
from msgspec import Raw

from apps_registry.models import App, ServiceKey
from messaging.live import node
from messaging.live.limits import Rule, rule
from messaging.log.answers import Request
from messaging.log.append import Publication, Stored, append
from messaging.log.effects import Effects
from messaging.protocol import frames, jsontext
from messaging.protocol.errors import ProtocolError

#: Streams one message may name.
MAX_TARGETS = 1000
#: Rows that one publish may make: messages times streams, one of more than so many characters counted as several.
#: Else a small request with long lists would be gigabytes in the writer's hands, and the Journal's bound none.
MAX_ROWS = 20_000
ROW = 4096


def request(messages: Sequence[Raw], *, key: ServiceKey, idempotency_key: str = "", body: bytes = b"") -> Request:
    """The command for a publish of raw drafts (JSON text that has passed `jsontext.strict`) by a service.

    Raises `invalid` and `too_large` for the whole; what is wrong with one draft stands as its error in the answer.
    """
    if not 1 <= len(messages) <= settings.MEANWHILE_MAX_BATCH:
        raise ProtocolError("invalid", f"A publish has 1 to {settings.MEANWHILE_MAX_BATCH} messages.")
    # Looked up once: a model's attribute or a setting for each of a thousand drafts is felt.
    service, max_data = key.service, settings.MEANWHILE_MAX_DATA
    app_id, service_id, name = service.app_id, service.pk, service.name
    publications: list[Publication | ProtocolError] = []
    named: list[Sequence[str] | None] = []
    rows = 0
    for raw in messages:
        try:
            draft = frames.decode_draft(raw, max_data=max_data)
            publication = _publication(draft, app_id, service_id, name)
            rows += len(publication.to) * (1 + len(publication.payload) // ROW)
            publications.append(publication)
            named.append(None if isinstance(draft.to, str) else draft.to)
        except ProtocolError as error:
            rows += 1
            publications.append(error)
            named.append(None)
    if rows > MAX_ROWS:
        raise ProtocolError("too_large", f"A publish is at most {MAX_ROWS} rows of {ROW} bytes; this one has {rows}.")
    digest = hashlib.sha256(body).hexdigest() if idempotency_key else ""
    return Request(publications, named, service_id, idempotency_key, digest, rows)


def rules(key: ServiceKey) -> tuple[Rule, Rule]:
    """What bounds the publishes with this key: messages of the key, bytes of its app."""
    return rule("publish", key.pk), rule("bytes", key.service.app_id)


def costs(asked: Request) -> tuple[int, int]:
    """Messages (times streams) and bytes, as `rules` bounds them."""
    messages = size = 0
    for one in asked.publications:
        streams = 1 if isinstance(one, ProtocolError) else len(one.to)
        messages += streams
        size += 0 if isinstance(one, ProtocolError) else len(one.payload) * streams
    return messages, size


def _publication(draft: frames.Draft, app_id: int, service_id: int | None, service: str | None) -> Publication:
    to = [draft.to] if isinstance(draft.to, str) else draft.to
    if not 1 <= len(to) <= MAX_TARGETS:
        raise ProtocolError("invalid", f"`to` names 1 to {MAX_TARGETS} streams.")
    return Publication(
        app_id=app_id,
        service_id=service_id,
        service=service,
        to=list(dict.fromkeys(to)),
        name=draft.name,
        payload=bytes(draft.data).decode(),
        key=draft.key,
        dedup_id=draft.id,
        ttl=draft.ttl,
    )


def publish(
    *,
    app: App | str,
    to: str | Iterable[str],
    name: str,
    data: Any,
    key: str = "",
    id: str | None = None,
    ttl: int | None = None,
) -> Stored | list[Stored]:
    """Publishes from Django code, in the caller's transaction: rolled back means never seen, committed means delivered.

    app: the App or its name. to: one stream or several; the answer has the same shape. data: anything json can write.
    id: a text. ttl: seconds. Outside a transaction it is one of its own. Raises ProtocolError for what the API would
    refuse, and then nothing is stored; App.DoesNotExist.
    """
    if isinstance(app, str):
        app = App.objects.get(name=app)
    named = to if isinstance(to, str) else list(to)
    publication = _publication(
        _draft({"to": named, "name": name, "data": data, "key": key, "id": id, "ttl": ttl}), app.pk, None, None
    )
    effects = Effects()
    with transaction.atomic():
        (places,) = append([publication], effects)
        for place in places:
            if isinstance(place, ProtocolError):
                raise place
        transaction.on_commit(lambda: node.announce(effects))
    stored = {place.stream: place for place in places if isinstance(place, Stored)}
    return stored[named] if isinstance(named, str) else [stored[stream] for stream in named]


async def apublish(**arguments: Any) -> Stored | list[Stored]:
    """As `publish`, for async code. The ORM's transactions are sync: it is a transaction of its own."""
    return await sync_to_async(publish)(**arguments)


def _draft(members: dict[str, Any]) -> frames.Draft:
    """By way of the text a service would send: what is refused there is refused here."""
    try:
        text = json.dumps(members, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise ProtocolError("too_deep") from None
    except (TypeError, ValueError) as error:
        raise ProtocolError("bad_json", str(error)) from None
    jsontext.strict(text, max_depth=settings.MEANWHILE_MAX_DEPTH + 1)
    return frames.decode_draft(text.encode(), max_data=settings.MEANWHILE_MAX_DATA)
