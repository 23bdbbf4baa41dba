"""An app with the SDK in it, without network and time: frames and pages in, frames and wanted pulls out.

It stores, acknowledges, handles, reports, in this order, and writes down what it sees. Who drives it may kill it
between any two of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from messaging.protocol.merge import Merge
from messaging.protocol.merge_effects import Adopt, Effect, Gap, Hand, Pull
from tests.faults.history import (
    Adopted,
    Agreed,
    Came,
    Event,
    Handed,
    Killed,
    Passed,
    Reported,
    Returned,
    Saved,
    Shown,
    Stands,
    Stopped,
    Told,
    Wants,
    WentOn,
)
from tests.faults.store import Place, Store

Frame = dict[str, Any]


class AppKilled(Exception):
    pass


@dataclass
class Halt:
    """A failure that stops a stream, until its message goes well at last, or the server is beyond it."""

    offset: int
    #: Whether the server knows.
    told: bool
    #: Nothing is handed over: until the next return, or until the app tries again.
    waits: bool = True
    #: What came behind it up to here is acknowledged, and dropped.
    passed: int = 0


@dataclass
class Asking:
    """Results that are sent and not confirmed. `stop`: the failure in it at which the stream waits."""

    stream: str
    stop: int | None


class App:
    """A device's app through all its lives; `store` is what outlives each."""

    merge_class: Callable[..., Merge] = Merge

    def __init__(self, *, name: str, mode: str, note: Callable[[Event], None]) -> None:
        self.name = name
        self.mode = mode
        self.store = Store()
        #: Whether its handler can take orders and alarms.
        self.able = False
        #: What is to be sent, in order, and the pulls that are wanted, by stream.
        self.out: list[Frame] = []
        self.pulls: dict[str, Pull] = {}
        self._note = note
        self._begin_life()
        self._begin_connection()

    def _begin_life(self) -> None:
        self.alive = True
        self.merges: dict[str, Merge] = {}
        #: Handed over by the merges, not yet by us to the handlers: outlives a connection, not the app.
        self.queue: list[tuple[str, Hand | Gap]] = []
        places = self.store.places.items()
        self.halts = {stream: Halt(at, told=True, waits=False) for stream, place in places if (at := place.stopped)}

    def _begin_connection(self) -> None:
        self.state = "foreground"
        self.notice: int | None = None
        self.welcomed = False
        self.out.clear()
        self.pulls.clear()
        self._last_id = 0
        self._asked: dict[int, Asking] = {}
        self._acked: dict[str, int] = {}
        self._versions: dict[tuple[str, str], int] = {}

    def say(self, event: Event) -> None:
        if not self.alive:
            raise AppKilled  # what still runs of a life that has ended does nothing more
        self._note(event)

    def kill(self) -> None:
        """It is gone, with everything that is not in the store."""
        self.say(Killed(self.name))
        self.alive = False

    def revive(self) -> None:
        self.lost()
        self._begin_life()

    def merge(self, stream: str) -> Merge:
        if stream not in self.merges:
            place = self.store.places.get(stream)
            stored: dict[str, Any] = {} if place is None else {"epoch": place.epoch, "done": place.done}
            self.merges[stream] = self.merge_class(**stored)
        return self.merges[stream]

    # --- connection --------------------------------------------------------------------------------------------------

    def connect(self, token: str) -> None:
        """A connection is open: says hello."""
        self._begin_connection()
        self.store.state_seq += 1
        self.say(Wants(self.name, "foreground"))
        places = self.store.places.items()
        positions = {stream: {"epoch": place.epoch, "processed": place.done} for stream, place in places}
        hello = {"state_seq": self.store.state_seq, "resume": self.mode, "positions": positions}
        self._send("hello", token=token, **hello)

    def lost(self) -> None:
        """The connection is gone."""
        self._begin_connection()
        for merge in self.merges.values():
            merge.away()

    def _send(self, type: str, **members: Any) -> int:
        self._last_id += 1
        self.out.append({"type": type, "id": self._last_id, **members})
        return self._last_id

    # --- frames ------------------------------------------------------------------------------------------------------

    def take(self, frame: Frame) -> None:
        handle = getattr(self, f"_on_{frame['type']}", None)
        assert handle, frame
        handle(frame)

    def _on_welcome(self, frame: Frame) -> None:
        self.welcomed = True
        self.say(Came(self.name, frame["generation"]))
        self.say(Agreed(self.name, frame["state"]))
        for entry in frame["streams"]:
            self.say(Stands(self.name, entry["stream"], entry["processed"], entry["received"], entry["head"]))
            self._begin(entry)

    def _begin(self, entry: Frame) -> None:
        stream = entry["stream"]
        self._try_again(stream)
        if place := self.store.places.get(stream):
            if place.epoch == entry["epoch"]:
                self._go_on(stream, entry["processed"])
            place.confirmed(entry["processed"])
        self._acked[stream] = entry["received"]
        members = {name: entry[name] for name in ("epoch", "processed", "cut", "head")}
        self._apply(stream, self.merge(stream).begin(**members, mode=self.mode))  # type: ignore[arg-type]

    def _on_message(self, frame: Frame) -> None:
        self._pass(frame["stream"], frame["offset"])
        self._apply(frame["stream"], self.merge(frame["stream"]).message(frame))

    def _on_messages(self, frame: Frame) -> None:
        for item in frame["items"]:
            self._on_message(item)

    def _on_gap(self, frame: Frame) -> None:
        merge = self.merge(frame["stream"])
        self._pass(frame["stream"], frame["to"])
        self._apply(frame["stream"], merge.gap(first=frame["from"], last=frame["to"], reason=frame["reason"]))

    def _on_caught_up(self, frame: Frame) -> None:
        self._apply(frame["stream"], self.merge(frame["stream"]).caught_up(upto=frame["upto"]))

    def _on_latest(self, frame: Frame) -> None:
        self._value(frame)
        self._send("ack_latest", stream=frame["stream"], version=frame["version"])

    def _value(self, value: Frame) -> None:
        place = (value["stream"], value["key"])
        if self.state == "foreground" and value["version"] <= self._versions.get(place, 0):
            return  # a page and the socket may both bring it
        self._versions[place] = value["version"]
        self.say(Shown(self.name, *place, value["version"]))

    def _on_transient(self, frame: Frame) -> None:
        self.say(Passed(self.name, frame["stream"]))

    def _on_results_saved(self, frame: Frame) -> None:
        self.saved(self._asked.pop(frame["re"], None), frame)

    def saved(self, asking: Asking | None, answer: Frame) -> None:
        """Results are confirmed, whichever way they went. asking: None where something else has answered them."""
        stream, processed, stopped = answer["stream"], answer["processed"], answer.get("stopped")
        self.say(Saved(self.name, stream, processed, stopped))
        place, halt = self.store.places[stream], self.halts.get(stream)
        place.confirmed(processed)
        if halt and asking and stopped == asking.stop == halt.offset:
            halt.told = True
        if self._go_on(stream, processed):
            self._recover(stream)
        elif asking and stopped is not None and stopped != asking.stop and stopped <= place.done:
            self._stop(stream, stopped, told=True)

    def _on_error(self, frame: Frame) -> None:
        assert frame["temporary"] or frame["code"] == "epoch_changed", frame
        self._asked.pop(frame.get("re", 0), None)

    def _on_bye(self, frame: Frame) -> None:
        pass

    # --- a failure that stops a stream -------------------------------------------------------------------------------

    def waits(self, stream: str) -> bool:
        return stream in self.halts and self.halts[stream].waits

    def _stop(self, stream: str, offset: int, *, told: bool) -> None:
        """The stream waits before this failure. told: the server knew of it first, what came behind it is undone."""
        self.say(Stopped(self.name, stream, offset))
        place = self.store.places[stream]
        place.done = min(place.done, offset - 1)
        place.failed = {failed for failed in place.failed if failed < offset}
        place.stopped = offset
        self.halts[stream] = Halt(offset, told)
        self.merge(stream).away(done=offset - 1)
        self._clear(stream)

    def _clear(self, stream: str) -> None:
        self.pulls.pop(stream, None)
        self.queue[:] = [(other, item) for other, item in self.queue if other != stream]

    def _pass(self, stream: str, upto: int) -> None:
        if self.waits(stream):
            self.halts[stream].passed = max(self.halts[stream].passed, upto)

    def _try_again(self, stream: str) -> None:
        if stream in self.halts:
            self.halts[stream].waits = False

    def retry(self, stream: str) -> None:
        """What the stream waits at is handed over again."""
        if self.waits(stream):
            self._try_again(stream)
            self._recover(stream)

    def _recover(self, stream: str) -> None:
        if self.foreground:
            self._apply(stream, self.merge(stream).recover())

    def _go_on(self, stream: str, processed: int) -> bool:
        """If the server's cursor is beyond what the stream waits at, so is this side. → whether it was"""
        if stream not in self.halts or processed <= self.merge(stream).done:
            return False
        del self.halts[stream]
        place = self.store.places[stream]
        place.done = processed
        place.stopped = None
        self.merges[stream] = self.merge_class(epoch=place.epoch, done=processed)
        self._clear(stream)
        self.say(WentOn(self.name, stream, processed))
        return True

    # --- background and back -----------------------------------------------------------------------------------------

    @property
    def foreground(self) -> bool:
        """Whether it is there, or on its way."""
        return self.welcomed and (self.state == "foreground") == (self.notice is None)

    def go(self, state: str) -> None:
        """To the background, or back."""
        self.store.state_seq += 1
        self.say(Wants(self.name, state))
        for stream, merge in self.merges.items():
            if state == "background":
                merge.away()
            else:
                self._try_again(stream)
                merge.expect()
        if state == "background":
            self.pulls.clear()
        self.notice = self._send("notice", state=state, state_seq=self.store.state_seq)

    def _on_notice_saved(self, frame: Frame) -> None:
        if frame["re"] != self.notice:
            return
        self.notice = None
        self.state = frame["state"]
        self.say(Agreed(self.name, frame["state"]))
        if frame["state"] == "foreground":
            self._versions.clear()
            for entry in frame["streams"]:
                self._begin(entry)

    # --- the merge and its pulls -------------------------------------------------------------------------------------

    def _apply(self, stream: str, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Pull):
                self.pulls[stream] = effect
            elif isinstance(effect, Adopt):
                self._adopt(stream, effect)
            elif isinstance(effect, Hand | Gap):
                self.queue.append((stream, effect))

    def _adopt(self, stream: str, effect: Adopt) -> None:
        if stream not in self.store.places:
            self.say(Adopted(self.name, stream, effect.done))
        self.store.places[stream] = Place(effect.epoch, effect.done, effect.done)
        self.queue[:] = [(other, item) for other, item in self.queue if other != stream]
        self.halts.pop(stream, None)

    @staticmethod
    def query(stream: str, pull: Pull) -> Frame:
        """What a pull asks for first; further pages by the cursor that `page` gives."""
        asked = {"stream": stream, "after": pull.after, "until": pull.until, "epoch": pull.epoch}
        return {name: value for name, value in asked.items() if value is not None}

    def page(self, stream: str, pull: Pull, body: Frame) -> Frame:
        """A page came. → what is to be asked next, {} if nothing."""
        stands = body["streams"][stream]
        effects = self.merge(stream).page(
            pull=pull.pull,
            epoch=stands["epoch"],
            processed=stands["processed"],
            cut=stands["cut"],
            messages=body["messages"],
            gaps=[Gap(one["from"], one["to"], one["reason"]) for one in body["gaps"]],
            complete=stands["complete"],
        )
        if not body["next"]:
            self._over(stream, pull)
        self._apply(stream, effects)
        for value in body["latest"]:
            self._value(value)
        return {"cursor": body["next"]} if body["next"] else {}

    def gone(self, stream: str, pull: Pull, problem: Frame) -> None:
        """A pull was refused: the server has another history."""
        self._over(stream, pull)
        merge = self.merge(stream)
        self._apply(stream, merge.gone(pull=pull.pull, epoch=problem["epoch"], processed=problem["processed"]))

    def _over(self, stream: str, pull: Pull) -> None:
        if self.pulls.get(stream) is pull:
            del self.pulls[stream]

    # --- the handlers ------------------------------------------------------------------------------------------------

    def acknowledge(self) -> None:
        if self.state != "foreground":
            return  # in the background nothing counts as delivered
        for stream in dict.fromkeys(stream for stream, _ in self.queue):
            merge = self.merge(stream)
            if merge.done > self._acked.get(stream, 0):
                self._acked[stream] = merge.done
                self._send("ack", stream=stream, upto=merge.done, epoch=merge.epoch or "")
        for stream, halt in self.halts.items():
            if halt.passed > self._acked.get(stream, 0):
                self._acked[stream] = halt.passed
                self._send("ack", stream=stream, upto=halt.passed, epoch=self.store.places[stream].epoch or "")

    def handle(self, *, killed: bool = False) -> None:
        """The next item goes through its handler. killed: the app is killed in it."""
        stream, item = self.queue[0]
        place = self.store.places[stream]
        if isinstance(item, Gap):
            self.say(Told(self.name, stream, item.first, item.last, item.reason))
            place.done = item.last
        else:
            text = item.message["data"]
            self.say(Handed(self.name, stream, item.offset, text))
            if killed:
                self.kill()
                return
            failed = text.endswith("7") if item.message["name"] in {"turn", "tick"} else not self.able
            if failed and item.message.get("on_failure") == "stop":
                self._stop(stream, item.offset, told=False)
                return
            if stream in self.halts and item.offset >= self.halts[stream].offset:
                del self.halts[stream]
                place.stopped = None
            if failed:
                place.failed.add(item.offset)
            place.done = item.offset
            self.say(Returned(self.name, stream, item.offset, failed))
        self.queue.pop(0)

    def reports(self) -> list[Frame]:
        """The results that are due, without `type` and `id`: for `report`, or for a POST."""
        asked = {asking.stream for asking in self._asked.values()}
        return [
            self._results(stream, place)
            for stream, place in self.store.places.items()
            if stream not in asked and (place.done > place.processed or self._untold(stream) is not None)
        ]

    def _untold(self, stream: str) -> int | None:
        """The failure the stream waits at, if the server is to hear of it."""
        halt = self.halts.get(stream)
        due = halt and not halt.told and halt.offset == self.store.places[stream].done + 1
        return halt.offset if halt and due else None

    def _results(self, stream: str, place: Place) -> Frame:
        stop = self._untold(stream)
        self.say(Reported(self.name, stream, place.done, stop))
        failed = sorted(offset for offset in place.failed if offset <= place.done) + ([stop] if stop else [])
        return {
            "stream": stream,
            "upto": stop or place.done,
            "epoch": place.epoch or "",
            "exceptions": [{"offset": offset, "status": "failed", "code": "Seven"} for offset in failed],
        }

    def report(self, results: Frame) -> None:
        """By the socket."""
        self._asked[self._send("results", **results)] = self._asking(results)

    def _asking(self, results: Frame) -> Asking:
        above = results["upto"] > self.store.places[results["stream"]].done
        return Asking(results["stream"], results["upto"] if above else None)

    def posting(self, results: Frame) -> int:
        """By HTTP: → what `posted` wants to hear when the answer is there, or will not come."""
        self._last_id += 1
        self._asked[self._last_id] = self._asking(results)
        return self._last_id

    def posted(self, id: int) -> Asking | None:
        return self._asked.pop(id, None)
