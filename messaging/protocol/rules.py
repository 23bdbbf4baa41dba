"""The decisions, each in one place: what is sent to whom, where a return begins, what a report says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

EVERY, LATEST, TRANSIENT = "every", "latest", "transient"
FOREGROUND, BACKGROUND, OFFLINE = "foreground", "background", "offline"


def pushed(delivery: str, state: str) -> bool:
    """Whether a change of this class goes to a device in this state (CN116319947 claims 1 and 3; P6)."""
    return delivery == EVERY or state == FOREGROUND


class Start(NamedTuple):
    """Where a return begins: after this offset. `reset`: what the client believed is of another history."""

    after: int
    reset: bool


def start_of_return(
    *, processed: int, head: int, epoch: str, stated_processed: int | None, stated_epoch: str = ""
) -> Start:
    """The greater of the two positions counts: the client may have handled more than its results could say.

    Another epoch, or a position beyond the head, is of a history that is not this one (P11).
    """
    if stated_processed is None:
        return Start(processed, False)
    if (stated_epoch and stated_epoch != epoch) or stated_processed > head:
        return Start(processed, True)
    return Start(max(processed, stated_processed), False)


def start_of_newcomer(*, head: int, tail: int, after: int) -> int:
    """After which offset a newcomer begins: as far back as asked for, never before what is stored (P7)."""
    return min(head, max(after, tail - 1))


class Hole(NamedTuple):
    from_offset: int
    to_offset: int
    reason: str


#: A hole nobody wrote down: below the tail, by cleanup of what the device itself had processed.
UNRECORDED = "purged"


def holes(*, after: int, upto: int, stored: Sequence[int], recorded: Iterable[Hole]) -> list[Hole]:
    """What of (after, upto] is not stored, in order, each part with its recorded reason.

    stored: offsets in order, all within the range. Never leaves an offset unexplained (P7).
    """
    missing: list[tuple[int, int]] = []
    expected = after + 1
    for offset in stored:
        if offset > expected:
            missing.append((expected, offset - 1))
        expected = offset + 1
    if expected <= upto:
        missing.append((expected, upto))
    if not missing:
        return []
    known = sorted(recorded)
    found: list[Hole] = []
    for first, last in missing:
        found.extend(_explained(first, last, known))
    return found


def _explained(first: int, last: int, known: list[Hole]) -> Iterable[Hole]:
    for hole in known:
        if hole.to_offset < first or hole.from_offset > last:
            continue
        if hole.from_offset > first:
            yield Hole(first, hole.from_offset - 1, UNRECORDED)
            first = hole.from_offset
        until = min(last, hole.to_offset)
        yield Hole(first, until, hole.reason)
        first = until + 1
        if first > last:
            return
    yield Hole(first, last, UNRECORDED)


def end_within(sizes: Iterable[tuple[int, int]], most: int, *, end: int) -> int:
    """How far a range may be read: (offset, bytes) of its messages in order, with at most so many bytes. → offset

    The first message always fits, whatever its size: else nobody would get past it.
    """
    first = True
    for offset, size in sizes:
        most -= size
        if most < 0 and not first:
            return offset - 1
        first = False
    return end


class Segment(NamedTuple):
    """A run of offsets with one and the same result. `value`: JSON text of what the handler returned."""

    from_offset: int
    upto: int
    status: str = "processed"
    code: str = ""
    detail: str = ""
    value: str | None = None


def segments(*, after: int, upto: int, special: Mapping[int, Segment]) -> list[Segment]:
    """A report of (after, upto] as runs, each offset in one: exceptions and values alone, the rest in ranges."""
    found: list[Segment] = []
    begin = after + 1
    for offset in sorted(special):
        if not begin <= offset <= upto:
            continue
        if begin < offset:
            found.append(Segment(begin, offset - 1))
        found.append(special[offset])
        begin = offset + 1
    if begin <= upto:
        found.append(Segment(begin, upto))
    return found


def stop_of(special: Mapping[int, Segment], stops: Collection[int], *, after: int, upto: int) -> int | None:
    """The offset at which a report of (after, upto] makes the stream wait: its first failure that is to stop it.

    stops: offsets of stored messages whose type says so. By rejecting, an app says on purpose that it goes on.
    """
    found = [offset for offset in stops if after < offset <= upto and offset in special]
    return min((offset for offset in found if special[offset].status == "failed"), default=None)


def runs(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Offsets in order as (first, last) of each unbroken run."""
    found: list[tuple[int, int]] = []
    for offset in offsets:
        if found and found[-1][1] == offset - 1:
            found[-1] = (found[-1][0], offset)
        else:
            found.append((offset, offset))
    return found


def outdated(parts: Sequence[Segment], expired: Sequence[int]) -> list[Segment]:
    """The parts, with what had expired before its result came as gaps.

    A device that reads a message past its time is told of a gap, and its cumulative result goes beyond it: that must
    not count as processed (P4). What it names itself, by a failure or a value, it had.
    """
    found: list[Segment] = []
    for part in parts:
        begin = part.from_offset
        if part.status == "processed" and part.value is None:
            for first, last in runs([offset for offset in expired if begin <= offset <= part.upto]):
                if begin < first:
                    found.append(part._replace(from_offset=begin, upto=first - 1))
                found.append(Segment(first, last, "gap", "expired"))
                begin = last + 1
        if begin <= part.upto:
            found.append(part._replace(from_offset=begin))
    return found


def attributed(
    parts: Sequence[Segment],
    recipients: Sequence[tuple[int, Sequence[int | None]]],
    unasked: Collection[int] = (),
) -> list[tuple[int | None, Segment]]:
    """Who hears of what: each service gets the runs of its own offsets, each offset once.

    recipients: (offset, services) in order, only of messages that are stored; both inputs in offset order. An
    offset that stopped a stream may be in no part (it was told), or in two: its failure, and the part that goes on.
    unasked: offsets whose success nobody is told (their types require no result).
    """
    found: list[tuple[int | None, Segment]] = []
    open_runs: dict[int | None, tuple[int, int]] = {}
    index = 0
    for part in parts:
        open_runs.clear()
        untold = unasked if part.status == "processed" else ()
        while index and recipients[index - 1][0] >= part.from_offset:
            index -= 1
        while index < len(recipients) and recipients[index][0] < part.from_offset:
            index += 1
        while index < len(recipients) and recipients[index][0] <= part.upto:
            offset, services = recipients[index]
            index += 1
            if offset in untold:
                continue
            for service in services:
                run = open_runs.get(service)
                if run and run[1] == offset - 1:
                    open_runs[service] = (run[0], offset)
                    continue
                if run:
                    found.append((service, part._replace(from_offset=run[0], upto=run[1])))
                open_runs[service] = (offset, offset)
        found.extend((service, part._replace(from_offset=a, upto=b)) for service, (a, b) in open_runs.items())
    return found
