"""Everything that can happen to two devices, a service and an operator, in any order, against the real code and the
real database: as rules that Hypothesis walks, and `walks` by a seed. The auditor judges each walk by its history.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from messaging.log import retention, sql
from messaging.log.effects import Effects
from tests.faults.history import Removable
from tests.faults.stage import STREAMS, People, Stage

Steps = list[tuple[str, dict[str, Any]]]

#: A process dies about once in ten times that it could.
SURVIVES = ("",) * 24
IN_A_PUBLISH = ("publish.before_insert", "publish.after_insert", "publish.after_commit", "publish.after_push")
ON_THE_WAY = ("ack.after_commit", "result.before_commit", "result.after_commit", "notice.before_commit")
BATCHES = (*((stream,) for stream in STREAMS), ("room:lobby",) * 5, ("device:phone", "user:ann"), STREAMS)
MODES = tuple((phone, tablet) for phone in ("pull", "hold", "replay") for tablet in ("pull", "hold", "replay"))
NO_YES = (False, True)
SELDOM = (False, False, False, True)
SIDES = (0, 1)
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)

#: Step → argument → its choices, the plainest first. The first choice of all may be left out.
STEPS: dict[str, dict[str, tuple[Any, ...]]] = {}


def step(**choices: tuple[Any, ...]) -> Callable[[Callable[..., None]], Any]:
    def made(function: Callable[..., None]) -> Any:
        name = function.__name__
        plainest = {argument: values[0] for argument, values in choices.items()}

        @functools.wraps(function)
        def noted(machine: Machine, **given: Any) -> None:
            chosen = plainest | given
            machine.walked.append((name, chosen))
            function(machine, **chosen)

        STEPS[name] = choices
        kind = initialize if name == "begin" else rule
        return kind(**{argument: st.sampled_from(values) for argument, values in choices.items()})(noted)

    return made


class Machine(RuleBasedStateMachine):
    people: People
    #: Of the last walk, for whoever wants to know.
    last: Machine

    def __init__(self) -> None:
        super().__init__()
        Machine.last = self
        self.walked: Steps = []
        self.stage = Stage(self.people)

    def teardown(self) -> None:
        try:
            if self.stage.sides:
                violations = self.stage.verdict()
                assert not violations, violations[:20]
        finally:
            self.stage.dispose()

    @step(modes=MODES)
    def begin(self, modes: tuple[str, str]) -> None:
        self.stage.enter(modes)

    # --- services ----------------------------------------------------------------------------------------------------

    @step(
        streams=BATCHES,
        elsewhere=NO_YES,
        crash=SURVIVES + IN_A_PUBLISH,
        arrived=NO_YES,
    )
    def publish(self, streams: tuple[str, ...], elsewhere: bool, crash: str, arrived: bool) -> None:
        """One or a batch, here or at another process, which dies of it or not."""
        if crash and not elsewhere:
            self.stage.process.crash_at(crash)
        self.stage.publish(streams, elsewhere=elsewhere, arrived=arrived)
        self.stage.process.live_on()

    @step(stream=STREAMS, name=("order", "tick", "alarm"), count=(1, 2, 3), elsewhere=NO_YES)
    def publish_special(self, stream: str, name: str, count: int, elsewhere: bool) -> None:
        """At whose failure the stream waits; whose success nobody wants to hear of; both."""
        self.stage.publish((stream,) * count, name, elsewhere=elsewhere)

    @step()
    def give_up(self) -> None:
        """The service never asks what became of what it has no answer to."""
        self.stage.unsure.clear()

    @step(stream=("device:phone", "room:lobby"), key=("berlin", "oslo"), elsewhere=NO_YES)
    def publish_value(self, stream: str, key: str, elsewhere: bool) -> None:
        self.stage.publish_weather((stream,), key, elsewhere=elsewhere)

    @step(stream=STREAMS)
    def publish_passing(self, stream: str) -> None:
        self.stage.publish_chat(stream)

    @step(place=(0, 0, 1, 2), fate=("hear", "hear", "double", "lose"))
    def wake_up(self, place: int, fate: str) -> None:
        """What another process said arrives: in order or not, twice, never."""
        wire = self.stage.process.wire
        if place < len(wire):
            effects = wire[place] if fate == "double" else wire.pop(place)
            if fate != "lose":
                self.stage.process.hear(effects)

    # --- the server --------------------------------------------------------------------------------------------------

    @step()
    def read(self) -> None:
        """What the database was asked is answered."""
        self.stage.process.settle()

    @step()
    def repair(self) -> None:
        self.stage.process.repair()

    @step()
    def pass_time(self) -> None:
        """Holds run out."""
        self.stage.process.pass_time(31)

    @step(arrived=NO_YES)
    def restart(self, arrived: bool) -> None:
        self.stage.process.crashed = True
        self.stage.bury(arrived=arrived)

    @step(stream=STREAMS, first=(1, 2, 3), count=(1, 2, 3))
    def expire(self, stream: str, first: int, count: int) -> None:
        """The time of some messages passes."""
        if found := self._stored(stream):
            id, head = found
            last = min(head, first + count - 1)
            self.stage.events.append(Removable(stream, first, last, "expired"))
            sql.change(
                f"UPDATE messaging_message SET expires_at = {sql.moment()}"
                ' WHERE stream_id = %s AND "offset" >= %s AND "offset" <= %s',
                sql.stamp(LONG_AGO),
                id,
                first,
                last,
            )

    @step(stream=STREAMS, upto=(1, 2, 5), heard=NO_YES)
    def purge(self, stream: str, upto: int, heard: bool) -> None:
        if found := self._stored(stream):
            id, head = found
            self.stage.events.append(Removable(stream, 1, min(upto, head), "purged"))
            effects = Effects()
            retention.purge(stream_id=id, upto=min(upto, head), effects=effects)
            self._told(effects, heard)

    @step(heard=NO_YES)
    def clean(self, heard: bool) -> None:
        self._stored("")
        effects = Effects()
        retention.clean_all(effects)
        self._told(effects, heard)

    def _stored(self, stream: str) -> tuple[int, int] | None:
        """(id, head) of a stream that has something.

        Said again before: an id is known as long as its message is stored, and services do not wait for long.
        """
        self.stage.say_again(elsewhere=True)
        found = sql.run("SELECT id, head FROM messaging_stream WHERE name = %s AND head > 0", stream)
        return found[0] if found else None

    def _told(self, effects: Effects, heard: bool) -> None:
        if heard:
            self.stage.process.hear(effects)

    @step(stops=NO_YES)
    def decree(self, stops: bool) -> None:
        """The operator says what a failure does; what is under way was published before."""
        self.stage.decree(stops=stops)

    @step()
    def look(self) -> None:
        self.stage.look()

    @step()
    def back_up(self) -> None:
        if self.stage.backup is None:
            self.stage.make_backup()

    @step(grown=NO_YES)
    def put_back(self, grown: bool) -> None:
        """The database of the backup. grown: before any device comes back, the streams are beyond where they were."""
        if self.stage.backup is None:
            return
        lost = self.stage.put_back()
        if grown:
            self.stage.publish(tuple(s for s, count in lost.items() for _ in range(count + 1)), elsewhere=True)

    # --- devices -----------------------------------------------------------------------------------------------------

    @step(which=SIDES, noticed=NO_YES)
    def connect(self, which: int, noticed: bool) -> None:
        """Where one is open, it takes over, or the older is lost first."""
        side = self.stage.sides[which]
        if side.connection:
            self.stage.drop(side, noticed=noticed)
        self.stage.connect(side)

    @step(which=SIDES, noticed=NO_YES)
    def cut(self, which: int, noticed: bool) -> None:
        side = self.stage.sides[which]
        if side.connection:
            self.stage.drop(side, noticed=noticed)

    @step(which=SIDES)
    def kill(self, which: int) -> None:
        """The app."""
        side = self.stage.sides[which]
        side.app.kill()
        self.stage.reborn(side)

    @step(which=SIDES, elsewhere=NO_YES)
    def ghost(self, which: int, elsewhere: bool) -> None:
        """What was said on a connection that is no more arrives late, here or at another process."""
        self.stage.speak_late(self.stage.sides[which], elsewhere=elsewhere)

    @step(which=SIDES, crash=SURVIVES + ON_THE_WAY)
    def exchange(self, which: int, crash: str) -> None:
        """All that is on the way gets there, and what follows from it: nothing goes wrong, unless the server dies."""
        if crash:
            self.stage.process.crash_at(crash)
        self.stage.round(self.stage.sides[which])
        self.stage.process.live_on()
        self.stage.bury()

    @step(which=SIDES, count=(1, 2, 6), sent=NO_YES)
    def receive(self, which: int, count: int, sent: bool) -> None:
        """Some of the frames on the way arrive; what the app says to them goes out, or not yet."""
        side = self.stage.sides[which]
        self.stage.receive(side, count)
        if sent:
            self.stage.flush(side)

    @step(which=SIDES, count=(1, 2, 6), killed=SELDOM)
    def handle(self, which: int, count: int, killed: bool) -> None:
        self.stage.handle(self.stage.sides[which], count, killed=killed)

    @step(which=SIDES, able=NO_YES[::-1])
    def mend(self, which: int, able: bool) -> None:
        """Its handler can take orders and alarms from now on, or cannot again."""
        self.stage.sides[which].app.able = able

    @step(which=SIDES)
    def retry(self, which: int) -> None:
        """The app tries again what its streams wait at."""
        self.stage.retry(self.stage.sides[which])

    @step(which=SIDES, lost=SELDOM)
    def report(self, which: int, lost: bool) -> None:
        self.stage.report(self.stage.sides[which], lost=lost)

    @step(which=SIDES, twice=NO_YES)
    def send(self, which: int, twice: bool) -> None:
        self.stage.flush(self.stage.sides[which], twice=twice)

    @step(which=SIDES, state=("background", "foreground"), sent=NO_YES[::-1])
    def go(self, which: int, state: str, sent: bool) -> None:
        side = self.stage.sides[which]
        self.stage.go(side, state)
        if sent:
            self.stage.flush(side)

    @step(which=SIDES, lost=SELDOM)
    def pull(self, which: int, lost: bool) -> None:
        """A page is read; one that is lost is asked for again."""
        side = self.stage.sides[which]
        if side.asking:
            self.stage.serve(side, next(iter(side.asking)), lost=lost)

    @step(which=SIDES, twice=SELDOM)
    def take_page(self, which: int, twice: bool) -> None:
        side = self.stage.sides[which]
        if side.pages:
            if twice:
                side.pages.insert(0, side.pages[0])
                self.stage.page(side)
            self.stage.page(side)

    @step(which=SIDES)
    def block(self, which: int) -> None:
        """The transport takes nothing."""
        if connection := self.stage.sides[which].connection:
            connection.block()

    @step(which=SIDES)
    def unblock(self, which: int) -> None:
        if connection := self.stage.sides[which].connection:
            connection.unblock()
        self.stage.process.settle(reads=False)

    @step(which=SIDES, stream=STREAMS)
    def boast(self, which: int, stream: str) -> None:
        """A receipt for what there is not yet: it counts as the head."""
        side = self.stage.sides[which]
        if side.connection and side.app.welcomed and stream in side.app.store.places:
            side.connection.say({"type": "ack", "stream": stream, "upto": 10**6})
            self.stage.process.settle(reads=False)
