"""The timeline of returns: one row per connect or foreground notice, how much it had missed, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from messaging.log import sql
from messaging.log.reading import Entry


class Return(NamedTuple):
    """A device is back, by `cause` (connect or notice), with its streams as they stand (the cut)."""

    device_id: int
    generation: int
    mode: str
    cause: str
    entries: list[Entry]


class Finished(Struct):
    """A return that has everything up to its cuts processed."""

    device_id: int
    generation: int
    pages: int


def begin(returns: Sequence[Return], *, at: datetime) -> None:
    """A row for each; one that has nothing to catch up with is complete at once."""
    stamp = sql.stamp(at)
    written = []
    for device, generation, mode, cause, entries in returns:
        pending = sum(entry.head - entry.processed for entry in entries)
        cuts = sql.packed_object({entry.stream: entry.head for entry in entries})
        outcome, finished_at = ("running", None) if pending else ("complete", stamp)
        written.append((device, generation, mode, cause, pending, cuts, outcome, finished_at))
    if not written:
        return
    source = sql.rows(
        "r",
        device_id="bigint",
        generation="bigint",
        mode="text",
        cause="text",
        pending="bigint",
        cuts="jsonb",
        outcome="text",
        finished_at="timestamptz",
    )
    sql.run(
        "INSERT INTO messaging_resume"
        " (device_id, generation, mode, cause, started_at, finished_at, pending, pages, cuts, outcome)"
        f" SELECT r.device_id, r.generation, r.mode, r.cause, {sql.moment()}, r.finished_at, r.pending, 0, r.cuts,"
        f" r.outcome FROM {source}",
        stamp,
        sql.packed(written),
    )


def finish(done: Sequence[Finished]) -> None:
    """They have what they came for."""
    _end("complete", ((f.device_id, f.generation, f.pages) for f in done), _OF_CONNECTION, ", pages = r.pages")


def interrupt(devices: Iterable[int]) -> None:
    """Something new of these devices ends the return that was running."""
    _end("interrupted", ((device,) for device in devices))


def interrupt_of(connections: Iterable[tuple[int, int]]) -> None:
    """The connections (device, generation) have ended, and with each its return."""
    _end("interrupted", connections, _OF_CONNECTION)


_OF_CONNECTION = " AND messaging_resume.generation = r.generation"


def _end(outcome: str, which: Iterable[tuple[int, ...]], condition: str = "", more: str = "") -> None:
    """Closes rows that are running: by (device, generation, pages), as far as the condition asks for these."""
    source = sql.rows("r", device_id="bigint", generation="bigint", pages="bigint")
    sql.run(
        f"UPDATE messaging_resume SET outcome = %s, finished_at = {sql.moment()}{more} FROM {source}"
        f" WHERE messaging_resume.device_id = r.device_id{condition} AND messaging_resume.outcome = 'running'",
        outcome,
        sql.stamp(sql.now()),
        sql.packed(which),
    )
