"""What is wrong with a device, in sentences. Pure: facts in, findings out, the gravest reading of the backlog first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from messaging.admin.looks import count, number
from messaging.models.backlog import Why


class Stop(NamedTuple):
    """A stream that waits at a failure, because its message's type says so."""

    stream: str
    offset: int
    #: How long it has waited, in words; "" where the result is no longer kept.
    waited: str
    #: Code and detail of the failure, as far as they were given.
    error: str
    #: Whether it is the device's own stream, which nobody else reads.
    own: bool = True


class Facts(NamedTuple):
    why: str
    pending: int
    not_received: int
    in_gaps: int
    #: How long ago it was heard of, in words; "" if never.
    away_for: str
    #: Whether a return is under way.
    returning: bool
    #: Returns in a row, newest first, that were interrupted.
    interrupted: int
    #: Code of the newest failed result among the recent ones; None without one.
    failure: str | None
    failures: int
    soft_limit: int
    stops: Sequence[Stop] = ()


class Finding(NamedTuple):
    #: "good", "mild" or "bad".
    tone: str
    text: str


def findings(facts: Facts) -> Iterator[Finding]:
    for stop in facts.stops:
        yield Finding("bad", _stopped(stop))
    if not facts.pending:
        yield Finding("good", "Nothing is missing: everything published to its streams has been processed.")
    else:
        yield Finding("mild", _why(facts))
    if facts.pending > facts.soft_limit:
        yield Finding("bad", f"Falling behind: more than {number(facts.soft_limit)} messages wait.")
    if facts.in_gaps:
        yield Finding(
            "bad",
            f"{number(facts.in_gaps)} of the {number(facts.pending)} can no longer be delivered (see its gaps)."
            " The device is told before its next message, and counts as behind until it has said so.",
        )
    if facts.interrupted > 1:
        yield Finding("bad", f"Its last {facts.interrupted} returns were interrupted before it had caught up.")
    if facts.failures:
        code = f", the newest with the code {facts.failure}" if facts.failure else ""
        yield Finding("bad", f"Its app failed on messages: {count(facts.failures, 'recent result')}{code}.")


def _stopped(stop: Stop) -> str:
    waited = f" and has waited for {stop.waited}" if stop.waited else ""
    error = f" ({stop.error})" if stop.error else ""
    way_out = (
        "To go on without it, skip it, or set the type to continue."
        if stop.own
        else "To go on without it, set the type to continue; a purge up to it would take it from other members, too."
    )
    return (
        f"{stop.stream} waits at message {stop.offset}{waited}: its app failed on it{error}, and its type says stop."
        f" It is handed over again at the next return. {way_out}"
    )


def _why(facts: Facts) -> str:
    waiting = count(facts.pending, "message")
    at_the_app = facts.pending - facts.not_received
    if facts.why == Why.REVOKED:
        return f"Revoked: it cannot connect. {waiting} wait until they expire or are purged."
    if facts.why == Why.STOPPED:
        return f"{waiting} not processed. What comes behind the failure in its stream waits with it."
    if facts.why == Why.NEVER:
        return f"It was registered and has never connected. {waiting} wait: does the app use its token?"
    if facts.why == Why.POLLS:
        heard = f"last heard of {facts.away_for} ago" if facts.away_for else "when it last pulled is not known"
        received = f", {number(at_the_app)} of them received" if at_the_app else ""
        return f"It polls over HTTP and has never opened a socket; {heard}. {waiting} not processed{received}."
    if facts.why == Why.AWAY:
        received = f" It had received {number(at_the_app)} of them when it left." if at_the_app else ""
        return f"Away for {facts.away_for}. {waiting} wait for its return.{received}"
    if facts.why == Why.BACKGROUND:
        return f"In the background, {waiting} not processed: what its socket does not take waits for its return."
    if facts.why == Why.RECEIVING:
        reason = (
            "its return is under way"
            if facts.returning
            else "its connection is slow, or the app does not acknowledge or does not pull"
        )
        return f"In the foreground with {waiting} pending, {number(facts.not_received)} of them not received: {reason}."
    return f"{waiting} received and not processed: the app's handler is slow, hangs, or stopped at a failure."
