"""Two devices, a service and an operator around one server process that stands still between two steps, and what can
be done with them. Whatever happens is in `events`; `verdict` lets everybody finish and asks the auditor.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

from django.db import transaction

from apps_registry.models import App as Tenant
from apps_registry.models import Delivery, Device, MessageType, OnFailure, Service
from messaging.log import answers, feed, membership, pending
from messaging.log.append import Publication
from messaging.log.presence import NoticeGiven
from messaging.models import Stream, Subscription
from messaging.protocol.errors import ProtocolError
from messaging.protocol.merge_effects import Pull
from tests.faults.app import App
from tests.faults.auditor import Violation, audit
from tests.faults.history import (
    Asked,
    Confirmed,
    Decreed,
    Event,
    FeedRead,
    Heard,
    Joined,
    Restored,
    Settled,
    Valued,
    Waiting,
)
from tests.faults.inline import Connection, Process, token_of

DEVICES = ("phone", "tablet")
STREAMS = ("device:phone", "device:tablet", "user:ann", "room:lobby")
#: Messages of a page.
LIMIT = 3
#: Of whose messages only what went wrong is told; at whose failures a stream waits.
QUIET, STOPPING = ("tick", "alarm"), ("order", "alarm")


class People:
    """Who there is, in the database; made once for many walks."""

    def __init__(self) -> None:
        self.tenant = Tenant.objects.create(name="demo")
        kinds = {"weather": Delivery.LATEST, "chat": Delivery.TRANSIENT}
        kinds |= dict.fromkeys(("turn", *QUIET, *STOPPING), Delivery.EVERY)
        for name, delivery in kinds.items():
            about = {"result_required": name not in QUIET}
            about |= {"on_failure": OnFailure.STOP} if name in STOPPING else {}
            MessageType.objects.create(app=self.tenant, name=name, delivery=delivery, **about)
        self.service = Service.objects.create(app=self.tenant, name="game")
        self.devices = [self._device(name) for name in DEVICES]
        self.tokens = {device.name: token_of(device) for device in self.devices}

    def _device(self, name: str) -> Device:
        device = Device.objects.create(app=self.tenant, name=name, user="ann", rooms=["room:lobby"])
        with transaction.atomic():
            membership.subscribe([(self.tenant.pk, device.pk, stream) for stream in streams_of(name)])
        return device


def streams_of(device: str) -> list[str]:
    return [f"device:{device}", "user:ann", "room:lobby"]


class Side:
    """A device: its app, and its connection while there is one."""

    def __init__(self, app: App, device: Device, token: str) -> None:
        self.app = app
        self.device = device
        self.token = token
        self.connection: Connection | None = None
        self.generation = 0
        #: Older connections the server believes to be open: generation, and what was still to be said on them.
        self.ghosts: list[tuple[Connection, int, list[dict[str, Any]]]] = []
        #: Stream → what the present connection told last: the socket sends what is next, and never skips.
        self.told: dict[str, int] = {}
        #: Pulls to be asked for, and their pages on the way.
        self.asking: dict[str, tuple[Pull, dict[str, Any]]] = {}
        self.pages: list[tuple[str, Pull, dict[str, Any]]] = []


class Stage:
    def __init__(self, people: People) -> None:
        self.people = people
        self.events: list[Event] = []
        self.sides: list[Side] = []
        #: Published, and not known to be stored.
        self.unsure: list[Publication] = []
        self.backup: str | None = None
        self._numbers = itertools.count(1)
        self._world = transaction.atomic()
        self._world.__enter__()
        self.process = Process()

    def dispose(self) -> None:
        """Nothing of it was ever there."""
        self.process.dispose()
        transaction.set_rollback(True)
        self._world.__exit__(None, None, None)

    def enter(self, modes: tuple[str, ...]) -> None:
        """The devices come for the first time, each with its way to resume."""
        for device, mode in zip(self.people.devices, modes, strict=True):
            self.events += [Joined(device.name, stream, 0) for stream in streams_of(device.name)]
            app = App(name=device.name, mode=mode, note=self.events.append)
            self.sides.append(Side(app, device, self.people.tokens[device.name]))
            self.connect(self.sides[-1])

    # --- services ----------------------------------------------------------------------------------------------------

    def publish(self, streams: tuple[str, ...], name: str = "turn", *, elsewhere: bool, arrived: bool = False) -> None:
        for stream in streams:
            text = f"m{next(self._numbers)}"
            self.events.append(Asked("game", stream, text, quiet=name in QUIET))
            self.unsure.append(self._publication(stream, name, json.dumps(text), dedup_id=text))
        self.say_again(elsewhere=elsewhere, arrived=arrived)

    def say_again(self, *, elsewhere: bool, arrived: bool = False) -> None:
        """Everything that is not known to be stored, in one request."""
        asked = list(self.unsure)
        if asked and (items := self._ask(asked, elsewhere, arrived)) is not None:
            self.unsure.clear()
            for publication, item in zip(asked, items, strict=True):
                self.events.append(Confirmed(publication.to[0], json.loads(publication.payload), item["offset"]))

    def publish_weather(self, streams: tuple[str, ...], key: str, *, elsewhere: bool) -> None:
        asked = [self._publication(stream, "weather", "1", key=key) for stream in streams]
        for item in self._ask(asked, elsewhere) or ():
            self.events.append(Valued(item["stream"], key, item["version"]))

    def publish_chat(self, stream: str) -> None:
        self._ask([self._publication(stream, "chat", "1")], elsewhere=False)

    def _publication(self, stream: str, name: str, payload: str, **more: Any) -> Publication:
        people = self.people
        return Publication(people.tenant.pk, people.service.pk, "game", [stream], name, payload, **more)

    def _ask(self, asked: list[Publication], elsewhere: bool, arrived: bool = False) -> list[Any] | None:
        """→ the answer's items; None if the process died on it."""
        request = answers.Request(list(asked), [None] * len(asked), self.people.service.pk)
        outcome = self.process.submit(request, elsewhere=elsewhere)
        self.bury(arrived=arrived)
        if outcome is None:
            return None
        assert not isinstance(outcome, ProtocolError), outcome
        items: list[Any] = json.loads(outcome.items)
        return items

    # --- the server --------------------------------------------------------------------------------------------------

    def bury(self, *, arrived: bool = False) -> None:
        """If the process has died: its connections are gone, and another one begins. arrived: what it had sent is
        still received.
        """
        if not self.process.crashed:
            return
        for side in self.sides:
            side.ghosts.clear()
            while arrived and side.connection and side.connection.frames:
                self.take(side, side.connection.frames.pop(0))
            self.lost(side)
        self.process.start()

    def decree(self, *, stops: bool) -> None:
        """What a failure does where it may stop a stream."""
        self.events.append(Decreed(stops))
        said = OnFailure.STOP if stops else OnFailure.CONTINUE
        MessageType.objects.filter(name__in=STOPPING).update(on_failure=said)

    def look(self) -> None:
        """The admin says who waits where."""
        found = Subscription.objects.values_list("device__name", "stream__name", "stopped_at")
        self.events += [Waiting(*where) for where in found]

    def make_backup(self) -> None:
        self.backup = transaction.savepoint()

    def put_back(self) -> dict[str, int]:
        """The server is stopped, the database of the backup put back. → how much each stream has lost."""
        assert self.backup
        self.process.crashed = True
        before = self._heads()
        transaction.savepoint_rollback(self.backup)
        self.backup = None
        after = self._heads()
        self.events += [Restored(stream, after[stream]) for stream in STREAMS]
        self.events.append(Decreed(MessageType.objects.filter(on_failure=OnFailure.STOP).exists()))
        self.process.wire.clear()
        self.process.put_back()
        self.bury()
        return {stream: before[stream] - after[stream] for stream in STREAMS}

    @staticmethod
    def _heads() -> dict[str, int]:
        return dict.fromkeys(STREAMS, 0) | dict(Stream.objects.values_list("name", "head"))

    # --- connections -------------------------------------------------------------------------------------------------

    def connect(self, side: Side) -> None:
        side.connection = self.process.connect()
        side.app.connect(side.token)
        self.flush(side)
        self.process.settle()

    def drop(self, side: Side, *, noticed: bool) -> None:
        """What was on the way is lost. Where the server has not noticed, it may still hear what was said: at last, that
        the app went to the background.
        """
        assert side.connection
        if noticed:
            side.connection.hang_up()
        else:
            self.go(side, "background")
            side.ghosts.append((side.connection, side.generation, list(side.app.out)))
        self.lost(side)
        self.process.settle(reads=False)

    def lost(self, side: Side) -> None:
        side.connection = None
        side.pages.clear()
        side.asking.clear()
        side.app.lost()

    def reborn(self, side: Side) -> None:
        """The app was killed: another one begins with its store."""
        if side.connection:
            side.connection.hang_up()
        side.app.revive()
        self.lost(side)
        self.process.settle(reads=False)

    def flush(self, side: Side, *, twice: bool = False) -> None:
        """What the app says is on its way; twice: all but the hello, as by an app that did not hear the answer."""
        for frame in side.app.out:
            if side.connection:
                side.connection.say(frame)
                if twice and frame["type"] != "hello":
                    side.connection.say(frame)
        side.app.out.clear()
        self.process.settle(reads=False)

    def receive(self, side: Side, count: int) -> None:
        for _ in range(count):
            if not (side.connection and side.connection.frames):
                return
            self.take(side, side.connection.frames.pop(0))

    def take(self, side: Side, frame: dict[str, Any]) -> None:
        assert frame.get("code") != "internal", frame
        if frame["type"] == "bye":
            assert frame["code"] in {"superseded", "restart"}, frame
            self.lost(side)
            return
        self._check_order(side, frame)
        side.app.take(frame)
        side.app.acknowledge()
        self._follow_pulls(side)

    def _check_order(self, side: Side, frame: dict[str, Any]) -> None:
        """Within a return of a device, the socket tells a stream without a hole; but for what the app is through with,
        which the end of a hold leaves out.
        """
        if frame["type"] == "welcome":
            side.generation = frame["generation"]
        if frame["type"] in {"welcome", "notice_saved"} or frame.get("reason") == "reset":
            side.told.clear()
            return
        for one in frame.get("items", [frame] if frame["type"] in {"message", "gap"} else []):
            stream, first, last = one["stream"], one.get("offset", one.get("from")), one.get("offset", one.get("to"))
            place = side.app.store.places.get(stream)
            due = max(side.told.get(stream, first - 1), place.done if place else 0) + 1
            assert first <= due, f"{side.app.name} {stream}: {due} is next, the socket sends {one}"
            side.told[stream] = last

    def speak_late(self, side: Side, *, elsewhere: bool) -> None:
        """What was said on connections that are no more arrives. elsewhere: at a process that knows of no newer one."""
        for connection, generation, frames in side.ghosts:
            for frame in frames:
                if not elsewhere:
                    connection.say(frame)
                elif frame["type"] == "notice":
                    said = NoticeGiven(side.device.pk, frame["state"], frame["state_seq"], generation, side.app.mode)
                    self.process.submit(said, elsewhere=True)
        side.ghosts.clear()
        self.process.settle(reads=False)

    # --- apps --------------------------------------------------------------------------------------------------------

    def handle(self, side: Side, count: int, *, killed: bool = False) -> None:
        for _ in range(min(count, len(side.app.queue))):
            if not side.app.queue:
                break  # a failure stopped its stream
            side.app.handle(killed=killed)
            if not side.app.alive:
                self.reborn(side)
                return
        self._follow_pulls(side)

    def report(self, side: Side, *, lost: bool = False) -> None:
        if side.connection and side.app.welcomed:
            for results in side.app.reports():
                side.app.report(results)
            if lost:  # with its connection
                side.app.out[:] = [frame for frame in side.app.out if frame["type"] != "results"]
                self.drop(side, noticed=True)

    def go(self, side: Side, state: str) -> None:
        app = side.app
        if side.connection and app.welcomed and app.notice is None and app.state != state:
            app.go(state)
            self._follow_pulls(side)

    def retry(self, side: Side) -> None:
        """Where its streams wait, the app tries again."""
        if side.app.foreground:
            for stream in side.app.halts:
                side.app.retry(stream)
            self._follow_pulls(side)

    def _follow_pulls(self, side: Side) -> None:
        for stream in [stream for stream, (pull, _) in side.asking.items() if side.app.pulls.get(stream) is not pull]:
            del side.asking[stream]
        for stream, pull in side.app.pulls.items():
            if stream not in side.asking and all(one[1] is not pull for one in side.pages):
                side.asking[stream] = (pull, side.app.query(stream, pull))

    def serve(self, side: Side, stream: str, *, lost: bool = False) -> None:
        """The server answers a pull. lost: nobody hears it, the app asks again."""
        pull, query = side.asking[stream]
        try:
            page = pending.page(device_id=side.device.pk, asked=pending.Asked(limit=LIMIT, **query))
            body = json.loads(page.text)
        except ProtocolError as error:
            assert error.code.name == "position_gone", error
            body = error.as_problem()
        if not lost:
            del side.asking[stream]
            side.pages.append((stream, pull, body))

    def page(self, side: Side) -> None:
        """The oldest page on the way arrives."""
        stream, pull, body = side.pages.pop(0)
        if "code" in body:
            side.app.gone(stream, pull, body)
        else:
            query = side.app.page(stream, pull, body)
            if query and side.app.pulls.get(stream) is pull:
                side.asking[stream] = (pull, query)
        side.app.acknowledge()
        self._follow_pulls(side)

    def round(self, side: Side) -> bool:
        """Everything that is on the way to and from a device arrives. → whether there was anything."""
        app, busy = side.app, False
        while side.connection and side.connection.frames:
            self.take(side, side.connection.frames.pop(0))
            busy = True
        while side.asking or side.pages:
            for stream in list(side.asking):
                self.serve(side, stream)
            while side.pages:
                self.page(side)
            busy = True
        busy = busy or bool(app.queue)
        self.handle(side, len(app.queue))
        self.report(side)
        busy = busy or bool(app.out)
        self.flush(side)
        return busy

    # --- the end -----------------------------------------------------------------------------------------------------

    def verdict(self) -> list[Violation]:
        """Everybody finishes in peace; apps are mended, and try again; the feed is read; the auditor has the word."""
        self.process.live_on()
        self.publish(STREAMS, elsewhere=True)
        self.publish_weather(STREAMS, "berlin", elsewhere=True)
        for side in self.sides:
            side.ghosts.clear()
            if side.connection:
                side.connection.unblock()
        self._rest()
        self.look()
        for side in self.sides:
            side.app.able = True
            self.retry(side)
        self._rest()
        self.look()
        self._hear_feed()
        self.events += [*(Settled(side.app.name) for side in self.sides), FeedRead("game")]
        return audit(self.events)

    def _rest(self) -> None:
        for _ in range(200):
            if not self._calm():
                return
        raise AssertionError("it does not come to rest")

    def _calm(self) -> bool:
        """A time in which nothing goes wrong. → whether anything happened."""
        self.process.settle()
        self.process.repair()
        busy = [self._come_back(side) | self.round(side) for side in self.sides]
        return any(busy)

    def _come_back(self, side: Side) -> bool:
        if side.connection is None:
            self.connect(side)
        elif side.app.state == "background" and side.app.notice is None:
            self.go(side, "foreground")
        else:
            return False
        return True

    def _hear_feed(self) -> None:
        for one in feed.items(self.people.service.pk, after=0, limit=100_000):
            heard = Heard("game", one["device"], one["stream"], one["from"], one["upto"], one["status"])
            self.events.append(heard)
