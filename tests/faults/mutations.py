"""Rules of the real code broken on purpose, each a way in which software of this kind has gone wrong.

The walks were found by chance, with the rule broken, and then made shorter (`walks.shortened`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from messaging import failpoints
from messaging.live import repair
from messaging.live.hub import Hub
from messaging.live.session import Session
from messaging.live.stream import LiveStream
from messaging.live.values import Values
from messaging.live.way import Way
from messaging.log import answers, cursors, lineage, pending, presence, reading, sql
from messaging.log.append import Publication
from messaging.log.effects import Effects, NewValue
from messaging.log.journal import Journal
from messaging.log.verbs import VERBS
from messaging.models import Message
from messaging.protocol import rules
from messaging.protocol.merge import Merge
from messaging.protocol.merge_effects import Effect, Hand
from messaging.protocol.window import Lane
from tests.faults.app import App
from tests.faults.history import Stopped
from tests.faults.machine import Machine
from tests.faults.stage import STREAMS
from tests.faults.walks import Walk

Patch = pytest.MonkeyPatch
FIVE = ("room:lobby",) * 5


class Mutation(NamedTuple):
    """A broken rule, a walk that shows it, and what is said of that: the promise, if the auditor says it."""

    break_it: Callable[[Patch], None]
    walk: Walk
    said: str


MUTATIONS: dict[str, Mutation] = {}


def shown_by(said: str, walk: Walk) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def kept(break_it: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTATIONS[break_it.__name__] = Mutation(break_it, walk, said)
        return break_it

    return kept


@shown_by("P7", lambda m: (m.begin(), m.exchange(), m.publish(), m.cut(noticed=True)))
def delete_on_send(patch: Patch) -> None:
    """What was pushed is not kept."""
    tell = Journal._tell

    def told(self: Journal, batch: Any, outcomes: Any, effects: Effects) -> None:
        for appended in effects.appended:
            Message.objects.filter(
                stream=appended.stream_id, offset__in=[item.offset for item in appended.items]
            ).delete()
        tell(self, batch, outcomes, effects)

    patch.setattr(Journal, "_tell", told)


@shown_by("P4", lambda m: (m.begin(), m.publish(), m.receive(count=6, sent=True), m.kill()))
def receipt_moves_processed(patch: Patch) -> None:
    def receive(receipts: Sequence[cursors.Receipt], effects: Effects) -> list[None]:
        cursors.receive(receipts)
        sql.run("UPDATE messaging_subscription SET processed = received")
        return [None] * len(receipts)

    patch.setitem(VERBS, cursors.Receipt, receive)


@shown_by("P2", lambda m: (m.begin(), m.publish(crash="publish.after_commit")))
def no_dedupe_at_the_server(patch: Patch) -> None:
    append = answers.append

    def forgets(publications: Sequence[Publication], effects: Effects) -> Any:
        return append([replace(one, dedup_id=None) for one in publications], effects)

    patch.setattr(answers, "append", forgets)


@shown_by("P3", lambda m: (m.begin(modes=("replay", "pull")), m.exchange(), m.publish(), m.receive(count=6), m.cut()))
def no_dedupe_at_the_client(patch: Patch) -> None:
    message = Merge.message

    def doubles(self: Merge, given: Mapping[str, Any]) -> list[Effect]:
        if self.state != "away" and given["offset"] <= self.done:
            return [Hand(given["offset"], "live", given)]
        return message(self, given)

    patch.setattr(Merge, "message", doubles)


@shown_by("P2", lambda m: (m.begin(), m.publish(), m.connect()))
def no_gap_check(patch: Patch) -> None:
    message = Merge.message

    def skips(self: Merge, given: Mapping[str, Any]) -> list[Effect]:
        if self.state != "away" and given["offset"] > self.done:
            self.done = given["offset"]
            return [Hand(given["offset"], "live", given)]
        return message(self, given)

    patch.setattr(Merge, "message", skips)


@shown_by("P2", lambda m: (m.begin(), m.cut(), m.publish(streams=FIVE)))
def page_taken_as_whole(patch: Patch) -> None:
    """Who got a page of a pull believes to have all of it."""
    page = Merge.page

    def believes(self: Merge, **given: Any) -> list[Effect]:
        out = page(self, **given)
        if given["pull"] == self._pull:
            self.done = max(self.done, given["cut"])
        return out

    patch.setattr(Merge, "page", believes)


@shown_by(
    "P1",
    lambda m: (
        m.begin(),
        m.exchange(),
        m.publish(crash="publish.after_commit", arrived=True),
        m.give_up(),
        m.publish(),
    ),
)
def push_before_commit(patch: Patch) -> None:
    verb = VERBS[answers.Request]

    def publish(requests: Any, effects: Effects) -> Any:
        outcomes = verb(requests, effects)
        Machine.last.stage.process.push(effects)
        failpoints.hit("publish.after_commit")  # it has not been
        return outcomes

    patch.setitem(VERBS, answers.Request, publish)


@shown_by("P2", lambda m: (m.begin(), m.exchange(), m.boast(), m.connect()))
def receipt_above_the_head(patch: Patch) -> None:
    run = sql.run

    def lax(statement: str, *parameters: Any) -> Any:
        statement = statement.replace("CASE WHEN r.upto < s.head THEN r.upto ELSE s.head END", "r.upto")
        return run(statement.replace(" AND messaging_subscription.received < s.head", ""), *parameters)

    patch.setattr(cursors.sql, "run", lax)


@shown_by("P11", lambda m: (m.begin(), m.back_up(), m.publish(), m.exchange(), m.exchange(), m.put_back(grown=True)))
def epoch_unchecked(patch: Patch) -> None:
    patch.setattr(lineage, "verify", lambda: None)


@shown_by("P7", lambda m: (m.begin(), m.cut(), m.publish(), m.expire(), m.clean()))
def silent_expiry(patch: Patch) -> None:
    run = sql.run

    def mute(statement: str, *parameters: Any) -> Any:
        return [] if statement.startswith("INSERT INTO messaging_gap") else run(statement, *parameters)

    patch.setattr(sql, "run", mute)


@shown_by("P6", lambda m: (m.begin(), m.exchange(), m.connect(), m.ghost(elsewhere=True)))
def stale_notice_accepted(patch: Patch) -> None:
    def notice(given: Sequence[presence.NoticeGiven], effects: Effects) -> Any:
        late = [replace(one, generation=None, state_seq=one.state_seq + 1000) for one in given]
        return presence.notice(late, effects)

    patch.setitem(VERBS, presence.NoticeGiven, notice)


@shown_by("P2", lambda m: (m.begin(modes=("hold", "pull")), m.publish(), m.exchange(), m.publish(), m.connect()))
def hold_never_released(patch: Patch) -> None:
    patch.setattr(Session, "release", lambda self, way: None)


@shown_by("P6", lambda m: (m.begin(), m.exchange(), m.go(), m.exchange(), m.publish_value()))
def values_in_the_background(patch: Patch) -> None:
    patch.setattr(rules, "pushed", lambda delivery, state: True)


@shown_by("P4", lambda m: (m.begin(), m.exchange(), m.publish(), m.receive(count=6, sent=True), m.kill()))
def return_begins_after_what_was_received(patch: Patch) -> None:
    entries = reading.entries

    def generous(devices: Any) -> Any:
        found = entries(devices)
        for one in (entry for list in found.values() for entry in list):
            one.processed = one.received
        return found

    patch.setattr(reading, "entries", generous)
    patch.setattr(presence, "entries", generous)


@shown_by("P5", lambda m: (m.begin(), m.exchange(), m.publish(), m.exchange(), m.exchange(), m.publish()))
def results_counted_again(patch: Patch) -> None:
    """A report says "up to"; what it repeats is taken for news."""
    lock = cursors._lock

    def forgets(reports: Sequence[cursors.Report]) -> Any:
        found = lock(reports)
        for cursor in found.values():
            cursor.processed = cursor.before = 0
        return found

    patch.setattr(cursors, "_lock", forgets)


@shown_by("P5", lambda m: (m.begin(), m.publish(streams=("user:ann",)), m.exchange(), m.clean()))
def cleanup_by_the_fastest(patch: Patch) -> None:
    run = sql.run
    patch.setattr(
        sql, "run", lambda statement, *given: run(statement.replace("min(u.processed)", "max(u.processed)"), *given)
    )


@shown_by(
    "P2", lambda m: (m.begin(modes=("replay", "hold")), m.receive(), m.publish(streams=STREAMS), m.publish(), m.go())
)
def a_rewind_is_skipped(patch: Patch) -> None:
    patch.setattr(Lane, "rewind", lambda self, after: None)


@shown_by(
    "the socket sends",
    lambda m: (
        *(m.begin(), m.publish(streams=("room:lobby",)), m.publish(streams=FIVE, elsewhere=True)),
        m.expire(stream="room:lobby", first=3),
    ),
)
def a_late_range_skips(patch: Patch) -> None:
    """As it was until a test of the session showed it."""
    fetched = Session.fetched

    def skips(self: Session, way: Way, found: reading.Range) -> None:
        if found.holes and found.holes[-1].to_offset >= way.lane.next:
            way.lane.skip(found.holes[0].from_offset - 1)
        fetched(self, way, found)

    patch.setattr(Session, "fetched", skips)


@shown_by("the socket sends", lambda m: (m.begin(), m.publish(), m.publish(elsewhere=True), m.publish()))
def wake_ups_are_believed(patch: Patch) -> None:
    def extend(self: LiveStream, appended: Any) -> bool:
        self.ring.clear()
        self.ring.extend(appended.items)
        self.head = appended.head
        return True

    def recent(self: LiveStream, offset: int, count: int) -> Any:
        return [item for item in self.ring if item.offset >= offset][:count] or None

    patch.setattr(LiveStream, "extend", extend)
    patch.setattr(LiveStream, "recent", recent)


@shown_by("P2", lambda m: (m.begin(), m.exchange(), m.publish(elsewhere=True)))
def nothing_is_repaired(patch: Patch) -> None:
    patch.setattr(repair, "_compare", lambda hub, id, head: None)


@shown_by(
    "P6",
    lambda m: (m.begin(), m.exchange(), m.publish_value(key="oslo", elsewhere=True), m.publish_value(), m.exchange()),
)
def a_hole_in_the_versions_is_overlooked(patch: Patch) -> None:
    deliver = Hub._deliver_values

    def overlooks(self: Hub, values: Iterable[NewValue]) -> None:
        for value in values:
            if stream := self.streams.get(value.stream_id):
                stream.version = max(stream.version, value.version)
        deliver(self, values)

    patch.setattr(Hub, "_deliver_values", overlooks)


@shown_by(
    "P6",
    lambda m: (m.begin(), m.exchange(), m.publish_value(key="oslo", elsewhere=True), m.publish_value(), m.exchange()),
)
def values_overtake_what_is_owed(patch: Patch) -> None:
    """As it was until this machine showed it."""
    news = Values.news

    def at_once(self: Values, value: NewValue) -> None:
        owing, self.owing = self.owing, False
        news(self, value)
        self.owing = owing

    patch.setattr(Values, "news", at_once)


@shown_by("P4", lambda m: (m.begin(), m.cut(), m.publish(), m.expire()))
def a_gap_counts_as_processed(patch: Patch) -> None:
    """As it was until the kill tests showed it."""
    patch.setattr(rules, "outdated", lambda parts, expired: list(parts))


@shown_by("P4", lambda m: (m.begin(), m.publish_special(), m.exchange(), m.exchange()))
def a_stop_is_passed(patch: Patch) -> None:
    patch.setattr(cursors, "_stops", lambda reports: {})


@shown_by("P7", lambda m: (m.begin(), m.publish_special(), m.exchange(), m.exchange(), m.look()))
def a_stop_leaves_no_mark(patch: Patch) -> None:
    wait = cursors._wait

    def forgets(cursor: Any, stop: int | None, report: cursors.Report) -> None:
        wait(cursor, stop, report)
        cursor.stopped = None

    patch.setattr(cursors, "_wait", forgets)


@shown_by("P5", lambda m: (m.begin(), m.publish_special(), m.exchange(), m.exchange()))
def a_stop_is_told_to_nobody(patch: Patch) -> None:
    wait = cursors._wait

    def mute(cursor: Any, stop: int | None, report: cursors.Report) -> None:
        parts = list(cursor.parts)
        wait(cursor, stop, report)
        cursor.parts = parts

    patch.setattr(cursors, "_wait", mute)


@shown_by("P5", lambda m: (m.begin(), m.publish_special(), m.exchange(), m.connect(), m.exchange(), m.exchange()))
def a_stop_is_told_at_each_return(patch: Patch) -> None:
    lock = cursors._lock

    def forgets(reports: Sequence[cursors.Report]) -> Any:
        found = lock(reports)
        for cursor in found.values():
            cursor.stopped = None
            cursor.halts.clear()
        return found

    patch.setattr(cursors, "_lock", forgets)


@shown_by("P5", lambda m: (m.begin(), m.publish_special(name="alarm"), m.exchange(), m.exchange()))
def a_success_after_a_stop_is_not_told(patch: Patch) -> None:
    run = sql.run

    def lax(statement: str, *given: Any) -> Any:
        found = run(statement, *given)
        return [] if ", m.type_id, m.service_id" in statement and Machine.last.stage.sides[0].app.able else found

    patch.setattr(cursors.sql, "run", lax)


@shown_by("P2", lambda m: (m.begin(), m.publish_special(), m.publish(), m.exchange()))
def what_is_behind_a_stop_is_handed_over(patch: Patch) -> None:
    """By the client."""

    def careless(self: App, stream: str, offset: int, *, told: bool) -> None:
        self.say(Stopped(self.name, stream, offset))
        self.queue[:] = [(other, item) for other, item in self.queue if (other, item.offset) != (stream, offset)]

    patch.setattr(App, "_stop", careless)


@shown_by("P5", lambda m: (m.begin(), m.publish_special(name="tick"), m.exchange()))
def successes_are_told_that_nobody_wants(patch: Patch) -> None:
    told_of = cursors.told_of

    def eager(types: set[int]) -> dict[int, cursors.Told]:
        return {type: cursors.Told(True, told.services) for type, told in told_of(types).items()}

    patch.setattr(cursors, "told_of", eager)


@shown_by(
    "P5",
    lambda m: (m.begin(), m.publish(streams=FIVE), m.publish(), m.publish_special(name="tick"), m.exchange()),
)
def failures_are_kept_quiet_with_successes(patch: Patch) -> None:
    attributed = rules.attributed

    def mute(parts: Any, recipients: Any, unasked: Any = ()) -> Any:
        found = attributed(parts, recipients, unasked)
        return [(service, part) for service, part in found if part.from_offset not in unasked]

    patch.setattr(rules, "attributed", mute)


@shown_by("P7", lambda m: (m.begin(), m.cut(), m.publish(), m.publish(), m.purge()))
def a_pull_forgets_its_gaps(patch: Patch) -> None:
    read = pending.reading.read_ranges
    patch.setattr(
        reading, "read_ranges", lambda *given, **more: [replace(one, holes=[]) for one in read(*given, **more)]
    )
