"""A publish request as a whole: its messages appended, its answer stored under its Idempotency-Key."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from messaging.log import sql
from messaging.log.append import Placed, Publication, append
from messaging.log.effects import Effects
from messaging.protocol import wire
from messaging.protocol.errors import ProtocolError


class Request(Struct):
    """The messages of one request, in its order; a draft that was refused at the door stands as its error."""

    publications: list[Publication | ProtocolError]
    #: Where `to` was a list, the streams as they were named, per publication: its item is a list of as many.
    named: list[Sequence[str] | None]
    service_id: int | None = None
    idempotency_key: str = ""
    digest: str = ""
    #: What it takes of the Journal's room: rows, large ones counted as several.
    weight: int = 1


class Answer(Struct):
    """JSON text of the items, in the order of the request. `replayed`: from an earlier request with the same key."""

    items: str
    replayed: bool = False


def publish(requests: Sequence[Request], effects: Effects) -> list[Answer | ProtocolError]:
    """Appends the messages of all requests and answers each.

    Inside a transaction. A request whose Idempotency-Key is known gets the stored answer, with another body
    `idempotency_mismatch`; either way nothing is appended.
    """
    known = _claim(requests)
    outcomes: list[Answer | ProtocolError | None] = []
    fresh: list[Request] = []
    twice: dict[int, Request] = {}
    for place, request in enumerate(requests):
        key = (request.service_id, request.idempotency_key)
        earlier = known.get(key) if request.idempotency_key else None
        if isinstance(earlier, Request):
            # The same key twice in one batch: the second waits for the first one's answer.
            outcomes.append(None if earlier.digest == request.digest else ProtocolError("idempotency_mismatch"))
            twice[place] = earlier
        elif earlier:
            digest, answer = earlier
            same = digest == request.digest
            outcomes.append(Answer(answer, replayed=True) if same else ProtocolError("idempotency_mismatch"))
        else:
            outcomes.append(None)
            fresh.append(request)
            if request.idempotency_key:
                known[key] = request
    answered = _append(fresh, effects)
    return [
        outcome
        or (Answer(answered[id(twice[place])], replayed=True) if place in twice else Answer(answered[id(request)]))
        for place, (request, outcome) in enumerate(zip(requests, outcomes, strict=True))
    ]


_Known = dict[tuple[int | None, str], "tuple[str, str] | Request"]


def _claim(requests: Sequence[Request]) -> _Known:
    """Takes the keys of the requests; → digest and answer of those that somebody took before.

    Another process that answers one of them at this moment is waited for: when it has committed, its answer is there.
    Sorted, so that two that take several do not wait for each other.
    """
    # Backwards: of several with the same key the first is answered, so its digest is kept.
    digests = {(r.service_id, r.idempotency_key): r.digest for r in reversed(requests) if r.idempotency_key}
    asked = sorted(digests.items())
    if not asked:
        return {}
    source = sql.rows("r", service_id="bigint", name="text", digest="text")
    taken = sql.run(
        "INSERT INTO messaging_idempotentanswer (service_id, key, digest, answer, created_at)"
        f" SELECT r.service_id, r.name, r.digest, '', {sql.moment()} FROM {source} WHERE true"
        " ON CONFLICT (service_id, key) DO NOTHING RETURNING service_id, key",
        sql.stamp(sql.now()),
        sql.packed((*key, digest) for key, digest in asked),
    )
    others = {key for key, _ in asked} - {(service, key) for service, key in taken}
    if not others:
        return {}
    source = sql.rows("r", service_id="bigint", name="text")
    found = sql.run(
        f"SELECT a.service_id, a.key, a.digest, a.answer FROM {source}"
        " JOIN messaging_idempotentanswer a ON a.service_id = r.service_id AND a.key = r.name",
        sql.packed(others),
    )
    return {(service, key): (digest, answer) for service, key, digest, answer in found}


def _append(requests: Sequence[Request], effects: Effects) -> dict[int, str]:
    """Answers by id() of the request."""
    good = [p for request in requests for p in request.publications if not isinstance(p, ProtocolError)]
    places = iter(append(good, effects) if good else [])
    answered: dict[int, str] = {}
    stored = []
    for request in requests:
        parts = [
            _problem(publication)
            if isinstance(publication, ProtocolError)
            else _item(publication.to, next(places), named)
            for publication, named in zip(request.publications, request.named, strict=True)
        ]
        answered[id(request)] = text = "[" + ",".join(parts) + "]"
        if request.idempotency_key:
            stored.append((request.service_id, request.idempotency_key, text))
    if stored:
        source = sql.rows("r", service_id="bigint", name="text", answer="text")
        sql.run(
            f"UPDATE messaging_idempotentanswer SET answer = r.answer FROM {source}"
            " WHERE messaging_idempotentanswer.service_id = r.service_id AND messaging_idempotentanswer.key = r.name",
            sql.packed(stored),
        )
    return answered


def _problem(error: ProtocolError) -> str:
    return wire.dumps({"problem": error.as_problem()})


def _item(to: Sequence[str], placed: list[Placed], named: Sequence[str] | None) -> str:
    """One for each stream that was named; a stream that was named twice has the message once, and the same item."""
    texts = [_place(one) for one in placed]
    if named is None:
        return texts[0]
    if len(named) != len(to):
        by_stream = dict(zip(to, texts, strict=True))
        texts = [by_stream[stream] for stream in named]
    return "[" + ",".join(texts) + "]"


def _place(one: Placed) -> str:
    if isinstance(one, ProtocolError):
        return _problem(one)
    shed = ',"shed":true' if one.shed else ""
    if one.offset is not None:
        return f'{{"stream":"{one.stream}","offset":{one.offset}{shed}}}'
    if one.version is not None:
        return f'{{"stream":"{one.stream}","version":{one.version}}}'
    return f'{{"stream":"{one.stream}"{shed}}}'
