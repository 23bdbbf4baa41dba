"""One device on one page: where it is, where it stands in each stream, what it misses, how its returns went."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Q

from messaging.admin import looks
from messaging.admin.diagnosis import Facts, Stop, findings
from messaging.admin.results import PROBLEMS
from messaging.models import Gap, Message, Result, ResultStatus, Resume, ResumeOutcome, StreamKind, Subscription
from messaging.models.backlog import with_oldest

#: Rows of each part of the page.
NEXT, RETURNS, RESULTS, GAPS = 20, 15, 15, 50


class Part(NamedTuple):
    """A part of a stream's bar; width in percent."""

    tone: str
    label: str
    count: int
    width: float


class Place(NamedTuple):
    """Where the device stands in one stream."""

    cursor: Any
    parts: list[Part]
    oldest: str
    #: Newest first.
    gaps: list[Gap]


def context(row: Any) -> dict[str, Any]:
    """All the page shows of a device read `with_backlog()`. Seven queries, however many streams it has; one
    more where a stream waits at a failure.
    """
    cursors = with_oldest(Subscription.objects.for_device(row).with_backlog()).select_related("stream")
    places = _places(list(cursors.order_by("-backlog", "stream__name")), row.read_at)
    streams = [place.cursor.stream_id for place in places]
    returns = list(Resume.objects.filter(device=row).order_by("-started_at", "-id")[:RETURNS])
    results = Result.objects.filter(stream__in=streams, device=row).select_related("stream", "service__app")
    recent = list(results.order_by("-id")[:RESULTS])
    failed = list(results.filter(status__in=PROBLEMS).order_by("-id")[:RESULTS])
    stops = _stops(row, places)
    return {
        "device": row,
        "own_stop": next((stop.offset for stop in stops if stop.own), None),
        "presence": getattr(row, "presence", None),
        "state": looks.pill(row.state),
        "seen": looks.since(row.last_seen, row.read_at, suffix=" ago") if row.last_seen else "never",
        "findings": list(findings(_facts(row, returns, failed, recent, stops))),
        "places": places,
        "next": _next(places, row.read_at),
        "pending_elsewhere": max(row.pending - row.in_gaps - NEXT, 0),
        "returns": [_return(one, row.read_at) for one in returns],
        "failed": [_result(one, row.read_at) for one in failed],
        "recent": [_result(one, row.read_at) for one in recent if one.status not in PROBLEMS],
    }


def _stops(row: Any, places: Sequence[Place]) -> list[Stop]:
    waiting = [place.cursor for place in places if _stopped(place.cursor)]
    if not waiting:
        return []
    which = Q()
    for cursor in waiting:
        which |= Q(stream=cursor.stream_id, from_offset=cursor.stopped_at, upto=cursor.stopped_at)
    found = Result.objects.filter(which, device=row, status=ResultStatus.FAILED).order_by("-id")
    told = {(result.stream_id, result.upto): result for result in found}  # the first that was told
    return [_stop(cursor, told.get((cursor.stream_id, cursor.stopped_at)), row.read_at) for cursor in waiting]


def _stopped(cursor: Subscription) -> bool:
    """As `SubscriptionQuerySet.stopped`, of a row that is at hand."""
    return cursor.stopped_at is not None and cursor.stopped_at >= cursor.stream.tail


def _stop(cursor: Subscription, failure: Result | None, now: datetime) -> Stop:
    waited = looks.age(now - failure.reported_at) if failure else ""
    error = ": ".join(part for part in (failure.code, failure.detail) if part) if failure else ""
    own = cursor.stream.kind == StreamKind.DEVICE
    return Stop(cursor.stream.name, cursor.stopped_at or 0, waited, error, own)


def _facts(
    row: Any, returns: Sequence[Resume], failed: Sequence[Result], recent: Sequence[Result], stops: Sequence[Stop]
) -> Facts:
    # Results over HTTP are no presence; of who only polls they may be all that was heard.
    heard = row.last_seen or (recent[0].reported_at if recent else None)
    interrupted = takewhile(lambda one: one.outcome == ResumeOutcome.INTERRUPTED, returns)
    return Facts(
        why=row.why,
        pending=row.pending,
        not_received=row.not_received,
        in_gaps=row.in_gaps,
        away_for=looks.age(row.read_at - heard) if heard else "",
        returning=bool(returns) and returns[0].outcome == ResumeOutcome.RUNNING,
        interrupted=sum(1 for _ in interrupted),
        failure=failed[0].code if failed else None,
        failures=len(failed),
        soft_limit=settings.MEANWHILE_BACKLOG_SOFT,
        stops=stops,
    )


def _places(cursors: Sequence[Any], now: datetime) -> list[Place]:
    after = {cursor.stream_id: cursor.joined_offset for cursor in cursors}
    gaps: dict[int, list[Gap]] = {stream: [] for stream in after}
    for gap in Gap.objects.filter(stream__in=after).order_by("-id")[:GAPS]:
        if gap.to_offset > after[gap.stream_id]:
            gaps[gap.stream_id].append(gap)
    return [
        Place(cursor, bar(cursor), looks.since(cursor.oldest_pending_at, now), gaps[cursor.stream_id])
        for cursor in cursors
    ]


def bar(cursor: Any) -> list[Part]:
    """What is stored of a stream, by what the device has done with it; in offset order, parts of nothing left out."""
    stream = cursor.stream
    stored_after = stream.tail - 1
    start = min(cursor.processed, max(stored_after, cursor.joined_offset))
    whole = stream.head - start
    ends = [
        ("good", "processed", cursor.processed),
        ("gone", "in a gap", max(stored_after, cursor.processed)),
        ("mild", "received, not processed", max(cursor.received, stored_after)),
        ("wait", "not received", stream.head),
    ]
    parts: list[Part] = []
    for tone, label, end in ends:
        if end > start:
            parts.append(Part(tone, label, end - start, round(100 * (end - start) / whole, 1)))
            start = end
    return parts


def _next(places: Sequence[Place], now: datetime) -> list[dict[str, Any]]:
    """The first messages it will get, without what is in them. One query over short ranges of the index."""
    ranges = Q()
    for place in places:
        first = place.cursor.oldest_pending
        if first is not None:
            ranges |= Q(stream=place.cursor.stream_id, offset__gte=first, offset__lt=first + NEXT)
    if not ranges:
        return []
    found = Message.objects.filter(ranges).order_by("published_at", "stream", "offset")
    fields = ("offset", "stream_id", "stream__name", "type__name", "service__name", "published_at", "expires_at")
    received = {place.cursor.stream_id: place.cursor.received for place in places}
    return [
        {
            **message,
            "stream": looks.stream_link(message["stream_id"], message["stream__name"]),
            "age": looks.since(message["published_at"], now),
            "expires": f"in {looks.age(message['expires_at'] - now)}" if message["expires_at"] > now else "expired",
            "received": message["offset"] <= received[message["stream_id"]],
        }
        for message in found.values(*fields)[:NEXT]
    ]


def _return(one: Resume, now: datetime) -> dict[str, Any]:
    return {
        "resume": one,
        "at": looks.moment(one.started_at),
        "ago": looks.age(now - one.started_at),
        "took": looks.took((one.finished_at or now) - one.started_at),
        "outcome": looks.pill(one.outcome),
        "cause": "foreground notice" if one.cause == "notice" else one.cause,
        "cuts": sorted(one.cuts.items()),
        "pending": looks.count(one.pending, "message"),
        "pages": looks.count(one.pages, "page"),
    }


def _result(one: Result, now: datetime) -> dict[str, Any]:
    return {
        "result": one,
        "status": looks.pill(one.status),
        "stream": looks.stream_link(one.stream_id, one.stream.name),
        "detail": looks.clamped(one.detail),
        "offsets": looks.span(one.from_offset, one.upto),
        "ago": looks.since(one.reported_at, now, suffix=" ago"),
    }
