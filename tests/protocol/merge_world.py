"""A model of everything around a merge: a server's log, a socket that loses, doubles and reorders, pages in any order,
expiry, lost connections, killed apps. Who walks it makes the choices; every step checks what P3 promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from messaging.protocol.merge import Merge
from messaging.protocol.merge_effects import Adopt, Effect, Gap, Hand, Pull

PAGE = 2
T = TypeVar("T")
Frame = tuple[str, int, int]


class Choices(Protocol):
    """Who decides what happens: Hypothesis, or a random number generator."""

    def one(self, of: Sequence[T]) -> T: ...
    def number(self, least: int, most: int) -> int: ...
    def yes(self) -> bool: ...


@dataclass
class Server:
    """The log: dense offsets, some of which are gone."""

    epoch: str = "e1"
    head: int = 0
    processed: int = 0
    gone: set[int] = field(default_factory=set)
    log: dict[int, str] = field(default_factory=dict)

    def append(self) -> None:
        self.head += 1
        self.log[self.head] = f"{self.epoch}:{self.head}"

    def message(self, offset: int) -> dict[str, Any]:
        return {"offset": offset, "data": self.log[offset]}

    def told(self, after: int, until: int) -> Iterable[Frame]:
        """What lies above `after`, in order: messages, and gaps where they are gone."""
        offset = after + 1
        while offset <= until:
            last = offset
            while offset in self.gone and last + 1 in self.gone and last < until:
                last += 1
            yield ("gap" if offset in self.gone else "message", offset, last)
            offset = last + 1


@dataclass
class Fetch:
    """A pull under way: its cut is fixed by the first page."""

    pull: Pull
    cut: int | None = None
    epoch: str | None = None
    after: int = 0


class World:
    """`pages_are_lost`: lost pages can make a hole stay; without them nothing may ever be told as unexplained."""

    def __init__(self, choose: Choices, *, merge: Callable[..., Merge] = Merge, pages_are_lost: bool = False) -> None:
        self.choose = choose
        self.merge_class = merge
        self.pages_are_lost = pages_are_lost
        self.server = Server()
        self.lost_a_push = False
        self.wire: list[Frame] = []
        self.fetches: list[Fetch] = []
        self.pages: list[tuple[Fetch, dict[str, Any]]] = []
        self.pushing = False
        self.unanswered = False
        self.queue: list[Hand | Gap] = []
        self.seen = 0  # what the app's handlers began with; the store holds it
        self.epoch: str | None = None
        self.position = 0  # what the merge handed over
        self.base = 0  # where this store begins in this epoch
        self.handled: dict[int, str] = {}
        self.covered: set[int] = set()
        self.open_cut: int | None = None
        self.merge = self.merge_class(limit=3)
        for _ in range(self.choose.number(0, 3)):
            self.server.append()

    def walk(self, steps: int) -> None:
        for _ in range(steps):
            self.choose.one(self.possible())()
        self.come_to_rest()

    def possible(self) -> list[Callable[[], None]]:
        some_messages = any(kind == "message" for kind, _, _ in self.wire)
        possible = [
            (True, self.publish),
            (True, self.report),
            (True, self.disturb),
            (self.server.head > 0, self.expire),
            (not self.pushing, self.connect),
            (self.pushing, self.go_to_the_background),
            (self.pushing and self.merge.state == "away", self.ask_for_the_foreground),
            (self.unanswered, self.hear_the_answer),
            (bool(self.wire), self.deliver),
            (bool(self.wire), self.deliver_in_order),
            (some_messages, self.lose),
            (bool(self.fetches), self.serve),
            (bool(self.pages), self.deliver_page),
            (bool(self.pages) and self.pages_are_lost, self.lose_page),
            (bool(self.queue), self.work),
        ]
        return [step for may, step in possible if may]

    # --- the server ---

    def publish(self) -> None:
        for _ in range(self.choose.number(1, 3)):
            self.server.append()
            if self.pushing:
                self.wire.append(("message", self.server.head, self.server.head))

    def expire(self) -> None:
        upto = self.choose.number(1, self.server.head)
        since = self.choose.number(max(1, upto - 3), upto)
        self.server.gone.update(range(since, upto + 1))
        if self.pushing and self.choose.yes():
            self.wire.append(("gap", since, upto))

    def lose_history(self) -> None:
        self.cut_off()
        kept = max(0, self.server.head - 2)
        epoch = f"e{int(self.server.epoch[1:]) + 1}"
        gone = {offset for offset in self.server.gone if offset <= kept}
        log = {offset: data for offset, data in self.server.log.items() if offset <= kept}
        self.server = Server(epoch, kept, min(self.server.processed, kept), gone, log)

    # --- the socket ---

    def connect(self) -> None:
        self.pushing = True
        self.answer(self.choose.one(["pull", "hold", "replay"]))

    def answer(self, mode: str) -> None:
        server = self.server
        self.open_cut = None
        hello = self.merge.done if self.merge.epoch == server.epoch else 0
        if mode == "replay":
            start = max(server.processed, hello)
            self.wire += [*server.told(start, server.head), ("caught_up", server.head, server.head)]
        self.act(
            self.merge.begin(
                epoch=server.epoch,
                processed=server.processed,
                cut=server.head,
                head=server.head,
                mode=mode,  # type: ignore[arg-type]
            )
        )

    def deliver(self) -> None:
        plain = [index for index, frame in enumerate(self.wire) if frame[0] != "caught_up"]
        index = self.choose.one(plain) if plain and self.choose.yes() else 0
        frame = self.wire[index] if self.choose.yes() else self.wire.pop(index)  # left there, it comes again
        self.receive(frame)

    def deliver_in_order(self) -> None:
        count = self.choose.number(1, 6)
        for frame in self.wire[:count]:
            self.receive(frame)
        del self.wire[:count]

    def lose(self) -> None:
        self.lost_a_push = True
        self.wire.remove(self.choose.one([frame for frame in self.wire if frame[0] == "message"]))

    def receive(self, frame: Frame) -> None:
        kind, first, last = frame
        if kind == "message":
            self.act(self.merge.message(self.server.message(first)))
        elif kind == "gap":
            self.act(self.merge.gap(first=first, last=last, reason="expired"))
        else:
            self.act(self.merge.caught_up(upto=last))

    def disturb(self) -> None:
        self.choose.one([self.cut_off, self.cut_off, self.kill_the_app, self.lose_history])()

    def cut_off(self) -> None:
        self.pushing = self.unanswered = self.lost_a_push = False
        self.wire.clear()
        self.open_cut = None
        self.act(self.merge.away())

    def go_to_the_background(self) -> None:
        self.open_cut = None
        self.queue.clear()
        self.position = self.seen
        self.unanswered = False
        self.act(self.merge.away(done=self.seen))

    def ask_for_the_foreground(self) -> None:
        self.unanswered = True
        self.open_cut = self.position
        self.act(self.merge.expect())

    def hear_the_answer(self) -> None:
        self.unanswered = False
        self.answer(self.choose.one(["pull", "hold"]))

    # --- pulls ---

    def serve(self) -> None:
        self.pages.append(self.next_page(self.choose.one(self.fetches)))

    def next_page(self, fetch: Fetch) -> tuple[Fetch, dict[str, Any]]:
        server, pull = self.server, fetch.pull
        if (fetch.epoch or pull.epoch or server.epoch) != server.epoch or (pull.after or 0) > server.head:
            self.fetches.remove(fetch)
            return fetch, {"pull": pull.pull, "epoch": server.epoch, "processed": server.processed}
        if fetch.cut is None:
            fetch.epoch = server.epoch
            fetch.cut = min(server.head, pull.until if pull.until is not None else server.head)
            fetch.after = server.processed if pull.after is None else pull.after
        told: list[Frame] = []
        for frame in server.told(fetch.after, fetch.cut):
            if len(told) == PAGE:
                break
            told.append(frame)
        fetch.after = told[-1][2] if told else fetch.cut
        complete = fetch.after >= fetch.cut
        if complete:
            self.fetches.remove(fetch)
        return fetch, {
            "pull": pull.pull,
            "epoch": server.epoch,
            "processed": server.processed,
            "cut": fetch.cut,
            "messages": [server.message(first) for kind, first, _ in told if kind == "message"],
            "gaps": [Gap(first, last, "expired") for kind, first, last in told if kind == "gap"],
            "complete": complete,
        }

    def deliver_page(self) -> None:
        index = self.choose.number(0, len(self.pages) - 1) if self.pages_are_lost else 0
        doubled = self.pages_are_lost and self.choose.yes()
        page = self.pages[index] if doubled else self.pages.pop(index)
        self.turn(page[1])

    def lose_page(self) -> None:
        fetch, page = self.pages.pop(self.choose.number(0, len(self.pages) - 1))
        if page.get("complete", True):  # the transport asks again until it has an answer
            self.fetches.append(Fetch(fetch.pull))

    def turn(self, page: dict[str, Any]) -> None:
        if "cut" not in page:
            self.act(self.merge.gone(**page))
            return
        current = page["pull"] == self.merge._pull and self.merge._pulling
        if current and self.open_cut is None:
            self.open_cut = page["cut"]
        if current and page["complete"]:
            self.open_cut = None
        self.act(self.merge.page(**page))

    # --- the app ---

    def work(self) -> None:
        count = self.choose.number(1, 4)
        for item in self.queue[:count]:
            self.see(item)
        del self.queue[:count]

    def report(self) -> None:
        if self.epoch == self.server.epoch:
            self.server.processed = max(self.server.processed, self.seen)

    def kill_the_app(self) -> None:
        self.cut_off()
        self.queue.clear()
        self.fetches.clear()
        self.pages.clear()
        self.position = self.seen
        stored = {} if self.epoch is None else {"epoch": self.epoch, "done": self.seen}
        self.merge = self.merge_class(limit=3, **stored)

    # --- what must hold ---

    def act(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Pull():
                    self.fetches.append(Fetch(effect))
                    self.open_cut = effect.until
                case Adopt(epoch, done):
                    if self.epoch is not None or done != self.position:
                        self.covered, self.handled, self.base = set(), {}, done
                    self.queue.clear()
                    self.epoch, self.position, self.seen = epoch, done, done
                    self.base = done
                case Gap(_, last, "reset"):
                    assert last == self.position, "a reset tells the position it goes on from"
                case Gap(first, last, reason):
                    assert first == self.position + 1, f"{effect} after {self.position}"
                    assert last >= first
                    assert self.pages_are_lost or reason != "unexplained", f"{effect}: the server has it"
                    gone = set(range(first, last + 1)) <= self.server.gone
                    assert gone or reason != "expired", f"{effect}: not gone"
                    self.position = last
                    self.queue.append(effect)
                case Hand(offset):
                    assert offset == self.position + 1, f"{effect} after {self.position}"
                    above = self.open_cut is not None and offset > self.open_cut
                    assert not above, f"{effect} above the cut {self.open_cut} of a pull under way"
                    self.position = offset
                    self.queue.append(effect)

    def see(self, item: Hand | Gap) -> None:
        first, last = (item.offset, item.offset) if isinstance(item, Hand) else (item.first, item.last)
        assert first == self.seen + 1, f"{item} after {self.seen}"
        if isinstance(item, Hand):
            assert item.offset not in self.handled, f"{item} twice"
            self.handled[item.offset] = item.message["data"]
        else:
            self.covered.update(range(first, last + 1))
        self.seen = last

    def come_to_rest(self) -> None:
        """Calm at last. Whatever happened: everything is handed over, or covered by a gap."""
        if not self.pushing or self.merge.state == "away" or self.unanswered:
            self.cut_off()
            self.connect()
        if self.lost_a_push:  # nothing can tell the client, but the next message
            self.publish()
        self.calm()

        assert self.merge.state == "live", self.merge.state
        assert self.position == self.server.head
        for item in self.queue:
            self.see(item)
        stored = {offset: data for offset, data in self.server.log.items() if offset > self.base}
        missing = {offset for offset, data in stored.items() if self.handled.get(offset) != data} - self.covered
        assert not missing, f"neither handed over nor told: {missing}"

    def calm(self) -> None:
        """Deliver all that is under way, faithfully."""
        for _ in range(2000):
            if self.wire:
                self.receive(self.wire.pop(0))
            elif self.pages:
                self.turn(self.pages.pop(0)[1])
            elif self.fetches:
                self.pages.append(self.next_page(self.fetches[0]))
            else:
                return
        raise AssertionError("it does not come to rest")
