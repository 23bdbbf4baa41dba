"""An app with the SDK in it, without network and time: frames and pages in, frames and wanted pulls out.

It stores, acknowledges, handles, reports, in this order, and writes down what it sees. Who drives it may kill it
between any two of these.
"""

from __future__ import annotations

from collections.abc import Callable
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
    Told,
    Wants,
)
from tests.faults.store import Place, Store

Frame = dict[str, Any]


class AppKilled(Exception):
    pass


class App:
    """A device's app through all its lives; `store` is what outlives each."""

    merge_class: Callable[..., Merge] = Merge

    def __init__(self, *, name: str, mode: str, note: Callable[[Event], None]) -> None:
        self.name = name
        self.mode = mode
        self.store = Store()
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

    def _begin_connection(self) -> None:
        self.state = "foreground"
        self.notice: int | None = None
        self.welcomed = False
        self.out.clear()
        self.pulls.clear()
        self._last_id = 0
        self._asked: dict[int, str] = {}
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
        if stream in self.store.places:
            self.store.places[stream].confirmed(entry["processed"])
        self._acked[stream] = entry["received"]
        members = {name: entry[name] for name in ("epoch", "processed", "cut", "head")}
        self._apply(stream, self.merge(stream).begin(**members, mode=self.mode))  # type: ignore[arg-type]

    def _on_message(self, frame: Frame) -> None:
        self._apply(frame["stream"], self.merge(frame["stream"]).message(frame))

    def _on_messages(self, frame: Frame) -> None:
        for item in frame["items"]:
            self._on_message(item)

    def _on_gap(self, frame: Frame) -> None:
        merge = self.merge(frame["stream"])
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
        self._asked.pop(frame["re"], None)
        self.saved(frame["stream"], frame["processed"])

    def saved(self, stream: str, processed: int) -> None:
        """Results are confirmed, whichever way they went."""
        self.say(Saved(self.name, stream, processed))
        self.store.places[stream].confirmed(processed)

    def _on_error(self, frame: Frame) -> None:
        assert frame["temporary"] or frame["code"] == "epoch_changed", frame
        self._asked.pop(frame.get("re", 0), None)

    def _on_bye(self, frame: Frame) -> None:
        pass

    # --- background and back -----------------------------------------------------------------------------------------

    def go(self, state: str) -> None:
        """To the background, or back."""
        self.store.state_seq += 1
        self.say(Wants(self.name, state))
        for merge in self.merges.values():
            if state == "background":
                merge.away()
            else:
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
            failed = text.endswith("7")
            if failed:
                place.failed.add(item.offset)
            place.done = item.offset
            self.say(Returned(self.name, stream, item.offset, failed))
        self.queue.pop(0)

    def reports(self) -> list[Frame]:
        """The results that are due, without `type` and `id`: for `report`, or for a POST."""
        due = [
            (stream, place)
            for stream, place in self.store.places.items()
            if place.done > place.processed and stream not in self._asked.values()
        ]
        found = []
        for stream, place in due:
            self.say(Reported(self.name, stream, place.done))
            failed = sorted(offset for offset in place.failed if offset <= place.done)
            found.append(
                {
                    "stream": stream,
                    "upto": place.done,
                    "epoch": place.epoch or "",
                    "exceptions": [{"offset": offset, "status": "failed", "code": "Seven"} for offset in failed],
                }
            )
        return found

    def report(self, results: Frame) -> None:
        """By the socket."""
        self._asked[self._send("results", **results)] = results["stream"]

    def posting(self, results: Frame) -> int:
        """By HTTP: → what `posted` wants to hear when the answer is there, or will not come."""
        self._last_id += 1
        self._asked[self._last_id] = results["stream"]
        return self._last_id

    def posted(self, id: int) -> None:
        self._asked.pop(id, None)
