"""advance and receive: a device's cursors move, and the services' feeds say what became of their messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from msgspec import Struct, field

from messaging import failpoints
from messaging.log import sql
from messaging.log.effects import Advanced, Effects
from messaging.protocol import rules
from messaging.protocol.errors import ProtocolError
from messaging.protocol.rules import Segment


class Report(Struct):
    """Results of a device: everything ≤ `upto` that is not in `special` was processed."""

    device_id: int
    stream: str
    upto: int
    epoch: str = ""
    #: Exceptions and returned values, by offset.
    special: dict[int, Segment] = field(default_factory=dict)


class Saved(Struct, omit_defaults=True):
    stream: str
    processed: int
    #: The offset at which the stream waits: the app failed on it, and its type says `stop`.
    stopped: int | None = None


class _Cursor(Struct):
    subscription_id: int
    stream_id: int
    processed: int
    received: int
    head: int
    epoch: str
    stopped: int | None
    before: int
    #: In order; an offset that stopped may stand in it as failed and after that in a part that goes on.
    parts: list[Segment] = field(default_factory=list)
    #: Offsets that stand in the feed as failed, although the cursor had not passed them.
    halts: set[int] = field(default_factory=set)
    moved: bool = False


def advance(reports: Sequence[Report], effects: Effects) -> list[Saved | ProtocolError]:
    """Moves `processed` (and `received` with it) and writes the results, one row per run and service.

    Inside a transaction; cumulative and idempotent: what is at or below the cursor changes nothing and counts nothing
    twice (P5). Above the head it counts as the head; another epoch is refused. At the first failure of a type that
    stops, the cursor waits before it, and the failure is told once.
    """
    cursors = _lock(reports)
    stops = _stops(reports)
    outcomes = [
        _move(report, cursors.get((report.device_id, report.stream)), stops.get((report.device_id, report.stream), ()))
        for report in reports
    ]
    moved = [(device, cursor) for (device, _), cursor in cursors.items() if cursor.moved]
    if moved:
        source = sql.rows("r", id="bigint", processed="bigint", received="bigint", stopped="bigint")
        sql.run(
            "UPDATE messaging_subscription SET processed = r.processed, received = r.received, stopped_at = r.stopped"
            f" FROM {source} WHERE messaging_subscription.id = r.id",
            sql.packed((c.subscription_id, c.processed, c.received, c.stopped) for _, c in moved),
        )
        write_results(_told(moved), effects)
        effects.advanced.extend(Advanced(device, c.stream_id, c.processed) for device, c in moved)
        failpoints.hit("result.before_commit")
    return outcomes


def _lock(reports: Sequence[Report]) -> dict[tuple[int, str], _Cursor]:
    source = sql.rows("r", device_id="bigint", name="text")
    found = sql.run(
        "SELECT u.device_id, s.name, u.id, s.id, u.processed, u.received, s.head, s.epoch, u.stopped_at"
        f" FROM {source} JOIN messaging_subscription u ON u.device_id = r.device_id"
        " JOIN messaging_stream s ON s.id = u.stream_id AND s.name = r.name"
        f" ORDER BY u.id{sql.lock('u')}",
        sql.packed({(report.device_id, report.stream) for report in reports}),
    )
    return {
        (device, name): _Cursor(
            id,
            stream,
            processed,
            received,
            head,
            epoch,
            stopped,
            before=processed,
            halts={stopped} if stopped is not None else set(),
        )
        for device, name, id, stream, processed, received, head, epoch, stopped in found
    }


def _stops(reports: Sequence[Report]) -> dict[tuple[int, str], set[int]]:
    """The failures at which a stream is to wait, by device and stream. No query where nothing failed.

    Not those of messages past their time: they will not be handed over again.
    """
    failed = {
        (report.device_id, report.stream, offset)
        for report in reports
        for offset, part in report.special.items()
        if part.status == "failed"
    }
    stops: dict[tuple[int, str], set[int]] = defaultdict(set)
    if not failed:
        return stops
    source = sql.rows("r", device_id="bigint", name="text", place="bigint")
    for device, name, offset in sql.run(
        f"SELECT r.device_id, r.name, r.place FROM {source}"
        " JOIN messaging_subscription u ON u.device_id = r.device_id"
        " JOIN messaging_stream s ON s.id = u.stream_id AND s.name = r.name"
        ' JOIN messaging_message m ON m.stream_id = s.id AND m."offset" = r.place'
        " JOIN apps_registry_messagetype t ON t.id = m.type_id AND t.on_failure = 'stop'"
        f" WHERE m.expires_at > {sql.moment()}",
        sql.packed(failed),
        sql.stamp(sql.now()),
    ):
        stops[device, name].add(offset)
    return stops


def _move(report: Report, cursor: _Cursor | None, stops: Collection[int]) -> Saved | ProtocolError:
    if cursor is None:
        return ProtocolError("unknown_stream")
    if report.epoch and report.epoch != cursor.epoch:
        return ProtocolError("epoch_changed", "", stream=report.stream, epoch=cursor.epoch, processed=cursor.processed)
    if any(offset > report.upto for offset in report.special):
        return ProtocolError("invalid", "An exception or value is above upto.")
    upto = min(report.upto, cursor.head)
    stop = rules.stop_of(report.special, stops, after=cursor.processed, upto=upto)
    if stop is not None:
        upto = stop - 1
    if upto > cursor.processed:
        parts = rules.segments(after=cursor.processed, upto=upto, special=report.special)
        # A failure at which the stream waited was told then.
        cursor.parts += [part for part in parts if part.status != "failed" or part.upto not in cursor.halts]
        cursor.processed = upto
        cursor.received = max(cursor.received, upto)
        cursor.moved = True
    _wait(cursor, stop, report)
    return Saved(report.stream, cursor.processed, stop)


def _wait(cursor: _Cursor, stop: int | None, report: Report) -> None:
    """The stream waits at an offset, or at none any more; a failure that was told is not told again."""
    if stop is None:
        if cursor.stopped is not None and cursor.processed >= cursor.stopped:
            cursor.stopped = None
        return
    cursor.moved = cursor.moved or cursor.stopped != stop
    cursor.stopped = stop
    if stop not in cursor.halts:
        cursor.halts.add(stop)
        cursor.parts.append(report.special[stop])


_Row = tuple[int | None, int, int, Segment]


def _told(moved: Sequence[tuple[int, _Cursor]]) -> list[_Row]:
    """(service, device, stream, segment) for everyone who is to hear."""
    source = sql.rows("r", place="bigint", stream_id="bigint", after="bigint", upto="bigint")
    stored = sql.run(
        f'SELECT r.place, m."offset", m.type_id, m.service_id, m.expires_at <= {sql.moment()} FROM {source}'
        ' JOIN messaging_message m ON m.stream_id = r.stream_id AND m."offset" > r.after AND m."offset" <= r.upto'
        ' ORDER BY r.place, m."offset"',
        sql.stamp(sql.now()),
        sql.packed(
            (place, c.stream_id, c.before, max(c.processed, c.stopped or 0)) for place, (_, c) in enumerate(moved)
        ),
    )
    told = told_of({type for _, _, type, *_ in stored})
    expired: dict[int, list[int]] = defaultdict(list)
    unasked: dict[int, set[int]] = defaultdict(set)
    recipients: dict[int, list[tuple[int, Sequence[int | None]]]] = defaultdict(list)
    for place, offset, type, service, late in stored:
        recipients[place].append((offset, told[type].services or (service,)))
        if late:
            expired[place].append(offset)
        # What was told as failed is told as processed, too.
        if not told[type].of_success and offset not in moved[place][1].halts:
            unasked[place].add(offset)
    return [
        (service, device, cursor.stream_id, part)
        for place, (device, cursor) in enumerate(moved)
        for service, part in rules.attributed(
            rules.outdated(cursor.parts, expired[place]), recipients[place], unasked.get(place, ())
        )
    ]


class Told(Struct):
    """What a type says about who hears of its messages' results."""

    #: Whether of successes, too; of failures, rejections and gaps always.
    of_success: bool
    #: The services it names; none: the publisher hears.
    services: list[int] = field(default_factory=list)


def told_of(types: set[int]) -> dict[int, Told]:
    """Who hears of messages of these types. One query."""
    found: dict[int, Told] = {}
    if not types:
        return found
    marks = ",".join(["%s"] * len(types))
    for type, required, service in sql.run(
        "SELECT t.id, t.result_required, r.service_id FROM apps_registry_messagetype t"
        " LEFT JOIN apps_registry_messagetype_report_to r ON r.messagetype_id = t.id"
        f" WHERE t.id IN ({marks}) ORDER BY r.service_id",
        *types,
    ):
        told = found.setdefault(type, Told(bool(required)))
        if service is not None:
            told.services.append(service)
    return found


def feed_positions(counts: dict[int, int]) -> dict[int, int]:
    """Takes places in services' feeds: how many each wants → the last position before them. Locks the feeds."""
    packed = sql.packed((service,) for service in sorted(counts))
    source = sql.rows("r", service_id="bigint")
    sql.run(
        f"INSERT INTO messaging_feed (service_id, head) SELECT r.service_id, 0 FROM {source} WHERE true"
        " ON CONFLICT (service_id) DO NOTHING",
        packed,
    )
    before = dict(
        sql.run(
            f"SELECT f.service_id, f.head FROM {source} JOIN messaging_feed f ON f.service_id = r.service_id"
            f" ORDER BY f.service_id{sql.lock('f')}",
            packed,
        )
    )
    source = sql.rows("r", service_id="bigint", taken="bigint")
    sql.run(
        f"UPDATE messaging_feed SET head = head + r.taken FROM {source} WHERE messaging_feed.service_id = r.service_id",
        sql.packed(counts.items()),
    )
    return before


def write_results(rows: Iterable[_Row], effects: Effects) -> None:
    """Writes results and gives each its place in its service's feed. Inside a transaction."""
    rows = list(rows)
    counts: dict[int, int] = defaultdict(int)
    for service, *_ in rows:
        if service is not None:
            counts[service] += 1
    positions = feed_positions(counts) if counts else {}
    effects.feeds.extend(counts)
    written: list[tuple[Any, ...]] = []
    for service, device, stream, part in rows:
        position = None
        if service is not None:
            position = positions[service] = positions[service] + 1
        written.append((service, position, device, stream, *part))
    if not written:
        return
    source = sql.rows(
        "r",
        service_id="bigint",
        place="bigint",
        device_id="bigint",
        stream_id="bigint",
        from_offset="bigint",
        upto="bigint",
        status="text",
        code="text",
        detail="text",
        value="text",
    )
    sql.run(
        "INSERT INTO messaging_result (service_id, position, device_id, stream_id, from_offset, upto, status, code,"
        " detail, value, reported_at) SELECT r.service_id, r.place, r.device_id, r.stream_id, r.from_offset, r.upto,"
        f" r.status, r.code, r.detail, r.value, {sql.moment()} FROM {source}",
        sql.stamp(sql.now()),
        sql.packed(written),
    )


def hold(receipts: Sequence[Receipt], places: Collection[tuple[int, str]]) -> None:
    """Locks all subscriptions that a transaction will touch, in id order: those of receipts, and (device, stream name).

    Else one process locks by its receipts what another has locked by its results, and the other way round: a device
    may have an acknowledgement under way at one while it reports at the other.
    """
    if not sql.is_postgres() or len(receipts) + len(places) < 2:
        return
    ids, names = sql.rows("r", id="bigint"), sql.rows("p", device_id="bigint", name="text")
    sql.run(
        f"SELECT u.id FROM messaging_subscription u WHERE u.id IN (SELECT r.id FROM {ids}"
        f" UNION ALL SELECT v.id FROM {names}"
        " JOIN messaging_subscription v ON v.device_id = p.device_id"
        f" JOIN messaging_stream s ON s.id = v.stream_id AND s.name = p.name) ORDER BY u.id{sql.lock('u')}",
        sql.packed({(receipt.subscription_id,) for receipt in receipts}),
        sql.packed(places),
    )


class Receipt(Struct):
    """What a device has stored safely: messages up to `upto`, `latest` values up to `version`."""

    subscription_id: int
    upto: int = 0
    version: int = 0


def receive(receipts: Sequence[Receipt]) -> None:
    """Moves `received` and `latest_received`, as far as the stream has got; older receipts change nothing.

    A head may be of before another process's append: what has got further meanwhile is not set back to it.

    Inside a transaction; cumulative, idempotent; moves `processed` never (P4).
    """
    upto: dict[int, int] = defaultdict(int)
    version: dict[int, int] = defaultdict(int)
    for receipt in receipts:
        upto[receipt.subscription_id] = max(upto[receipt.subscription_id], receipt.upto)
        version[receipt.subscription_id] = max(version[receipt.subscription_id], receipt.version)
    messages = sorted((id, to) for id, to in upto.items() if to)
    values = sorted((id, to) for id, to in version.items() if to)
    source = sql.rows("r", id="bigint", upto="bigint")
    if messages:
        sql.run(
            "UPDATE messaging_subscription SET received = CASE WHEN r.upto < s.head THEN r.upto ELSE s.head END"
            f" FROM {source}, messaging_stream s WHERE messaging_subscription.id = r.id"
            " AND s.id = messaging_subscription.stream_id AND messaging_subscription.received < r.upto"
            " AND messaging_subscription.received < s.head",
            sql.packed(messages),
        )
    if values:
        packed = sql.packed(values)
        sql.run(
            "INSERT INTO messaging_latestreceipt (subscription_id, value_id, revision)"
            f" SELECT u.id, l.id, l.revision FROM {source} JOIN messaging_subscription u ON u.id = r.id"
            " JOIN messaging_latestvalue l ON l.stream_id = u.stream_id AND l.version > u.latest_received"
            " AND l.version <= r.upto WHERE true"
            " ON CONFLICT (subscription_id, value_id) DO UPDATE SET revision = excluded.revision",
            packed,
        )
        sql.run(
            "UPDATE messaging_subscription SET latest_received ="
            " CASE WHEN r.upto < s.version THEN r.upto ELSE s.version END"
            f" FROM {source}, messaging_stream s WHERE messaging_subscription.id = r.id"
            " AND s.id = messaging_subscription.stream_id AND messaging_subscription.latest_received < r.upto"
            " AND messaging_subscription.latest_received < s.version",
            packed,
        )
    failpoints.hit("ack.before_commit")
