"""The client's merge of pulled and live messages of one stream: event in, effects out.

Pure: no clock, no I/O, no Django. `static/messaging/client/merge.js` is the same machine in JavaScript; both run the
interleavings in `tests/vectors/`. A change here is a change there, and a vector.

States: `away` (no connection, or in the background: whatever arrives is dropped, the server has it), `resuming`
(a pull or a replay is under way), `live`.

What always holds: messages are handed over in offset order, strictly `done + 1`, each once; nothing above the cut is
handed over before the pull is complete; a range that cannot be delivered is told as a gap, before the next message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from messaging.protocol.merge_effects import Adopt, Buffer, Closed, Drop, Effect, Gap, Hand, Live, Pull

State = Literal["away", "resuming", "live"]

DEFAULT_LIMIT = 256
"""Messages and gaps kept while a pull is under way. The server stops at its window (64) anyway."""


class Merge:
    """The merge of one stream. `epoch` and `done`: the position in the client's store, None if it has none."""

    def __init__(self, *, epoch: str | None = None, done: int | None = None, limit: int = DEFAULT_LIMIT) -> None:
        self.epoch = epoch
        self.done = done or 0
        self.cut: int | None = None
        self.head = self.done
        self.state: State = "away"
        self._limit = limit
        self._placed = done is not None
        self._pull = 0  # the newest pull; pages of any other are of the past
        self._pulling = False
        self._pages: dict[int, Mapping[str, Any]] = {}
        self._buffer: dict[int, Mapping[str, Any]] = {}
        self._gaps: list[Gap] = []
        self._caught_up = True  # False while a replay is under way
        self._missed = 0  # the highest offset that overflowed the buffer
        self._suspect = 0  # the hole a pull was already made for
        self._closed: int | None = None
        self._told_reset = False  # the server repeats as a frame what its welcome already said

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    # --- events ---

    def expect(self) -> list[Effect]:
        """A foreground notice or a join was sent: what is pushed before its answer may lie above the cut."""
        if self.state == "away":
            self.state = "resuming"
            self.cut = None
        return []

    def begin(
        self, *, epoch: str, processed: int, cut: int, head: int, mode: Literal["pull", "replay", "hold"] = "pull"
    ) -> list[Effect]:
        """The server said where the stream stands (welcome, joined, answer to a foreground notice)."""
        out: list[Effect] = []
        until: int | None = cut
        # A stream under way may be a push ahead of an answer made before it; on a fresh one it means lost history.
        ahead = self.done > head and not self._under_way()
        if self._placed and (ahead or (self.epoch is not None and epoch != self.epoch)):
            until = None if self._buffer or self._missed else cut  # dropped here, so the pull must bring it
            out += self._reset(epoch, processed)
            self._told_reset = True
        else:
            if self.epoch is None:
                out += self._adopt(epoch, self.done if self._placed else processed)
            if self.state == "resuming":
                until = cut = max(cut, self.cut or 0, self._missed)  # the pull that ends here owned or missed these
        self.state = "resuming"
        self.cut = cut
        self.head = max(self.done, head)
        self._caught_up = mode != "replay"
        self._forget_pull()
        if not self._caught_up:
            return out
        return out + (self._ask(until) if until is None or self.done < until else self._settle())

    def recover(self) -> list[Effect]:
        """Something of the stream is known to be missing, but not up to where: pull all there is."""
        self.state = "resuming"
        self.cut = None
        self._forget_pull()
        return self._ask(None)

    def message(self, message: Mapping[str, Any]) -> list[Effect]:
        """A message came over the socket."""
        offset: int = message["offset"]
        if self.state == "away":
            return [Drop(offset, "away")]
        self.head = max(self.head, offset)
        if (offset <= self.done and self._under_way()) or offset in self._buffer:
            return [Drop(offset, "duplicate")]
        if not self._waiting() and offset == self.done + 1:
            self.done = offset
            return [Hand(offset, "live", message)]
        if self._pulling and self.cut is not None and offset <= self.cut:
            return [Drop(offset, "pull_owns_it")]
        kept = self._keep(offset)
        if kept:
            return kept
        self._buffer[offset] = message
        return [Buffer(offset), *([] if self._waiting() else self._settle())]

    def gap(self, *, first: int, last: int, reason: str, epoch: str | None = None) -> list[Effect]:
        """A gap came over the socket."""
        if self.state == "away":
            return [Drop(last, "away")]
        if reason == "reset":
            return self._reset_frame(last, epoch)
        self.head = max(self.head, last)
        if last <= self.done:
            return [Drop(last, "duplicate")]
        kept = self._keep(last)
        if kept:
            return kept
        self._gaps.append(Gap(first, last, reason))
        return [] if self._waiting() else self._settle()

    def page(
        self,
        *,
        pull: int,
        epoch: str,
        processed: int,
        cut: int,
        messages: Sequence[Mapping[str, Any]],
        gaps: Sequence[Gap] = (),
        complete: bool = False,
    ) -> list[Effect]:
        """A page of a pull came back."""
        if not self._pulling or pull != self._pull:
            return [Drop(None, "old_page")]
        if self.epoch is not None and epoch != self.epoch:
            return [*self._reset(epoch, processed), *self._ask(None)]
        out: list[Effect] = []
        if self.epoch is None:
            out += self._adopt(epoch, self.done if self._placed else processed)
        if self.cut is None:
            self.cut = cut
            self.head = max(self.head, cut)
        told = self.done
        for message in messages:
            offset: int = message["offset"]
            if offset <= self.done:
                out.append(Drop(offset, "duplicate"))
            elif offset > self.cut:
                out.append(Drop(offset, "above_cut"))
            else:
                self._pages[offset] = message
                told = max(told, offset)
        for gap in gaps:
            if gap.last > self.done:
                self._gaps.append(gap)
                told = max(told, min(gap.last, self.cut))
        if not complete:
            return out + self._walk_to(told, limit=self.cut)
        self._pulling = False
        return out + self._settle()

    def gone(self, *, pull: int, epoch: str, processed: int) -> list[Effect]:
        """The pull was refused: the server does not know our position (410 `position_gone`)."""
        if not self._pulling or pull != self._pull:
            return [Drop(None, "old_page")]
        if epoch != self.epoch or processed != self.done:
            return [*self._reset(epoch, processed), *self._ask(None)]
        self._pulling = False
        self.cut = self.done
        return self._settle()

    def caught_up(self, *, upto: int) -> list[Effect]:
        """A replay is complete up to `upto`."""
        if self.state != "resuming" or self._caught_up:
            return []
        self._caught_up = True
        self.cut = max(self.cut or 0, upto)
        return [] if self._pulling else self._settle()

    def closed(self, *, head: int) -> list[Effect]:
        """The last word on the stream. It is said once a connection, so it is kept in the background too."""
        self._closed = head
        self.head = max(self.head, head)
        return [] if self.state == "away" or self._waiting() else self._settle()

    def away(self, *, done: int | None = None) -> list[Effect]:
        """The connection is gone, or the app in the background. `done`: rewind to what the app really began with."""
        self.state = "away"
        self._pulling = False  # whatever is still under way belongs to the past
        self._caught_up = True
        self._told_reset = False
        self._clear()
        if done is not None:
            self.done = min(self.done, done)
        return []

    # --- the machine ---

    def _under_way(self) -> bool:
        return self.state == "live" or self._pulling or (self.state == "resuming" and self.cut is not None)

    def _waiting(self) -> bool:
        """True while nothing may pass straight through: a pull is under way, or the cut is not known yet."""
        return self._pulling or (self.state == "resuming" and self.cut is None)

    def _ask(self, until: int | None) -> list[Effect]:
        self.state = "resuming"
        self.cut = until
        self._pull += 1
        self._pulling = True
        self._pages.clear()
        self._missed = 0
        return [Pull(self._pull, self.done if self._placed else None, until, self.epoch)]

    def _settle(self) -> list[Effect]:
        """No pull is under way: hand over what is there; then live, or one more pull for what is missing."""
        known = [self.cut or 0, self._missed, self._closed or 0, *self._buffer, *(gap.last for gap in self._gaps)]
        if not self._caught_up:  # a replay brings what is up to the cut by itself
            known[0] = 0
        out = self._walk_to(max(known), limit=None)
        if self._pulling or not self._caught_up:
            return out
        if self.state != "live":
            self.state = "live"
            out.append(Live(self.done))
        self._suspect = 0
        if self._closed is not None:
            out.append(Closed(self._closed))
            self._closed = None
        return out

    def _walk_to(self, target: int, *, limit: int | None) -> list[Effect]:
        """Hand over up to `limit`. A hole below `target` is asked for once; if it stays, it becomes a gap."""
        out = self._walk(limit)
        while self.done < target:
            if self._suspect != self.done + 1:
                self._suspect = self.done + 1
                return out + self._ask(max(target, self.cut or 0, self._missed))
            known = [*self._pages, *self._buffer, *(gap.first for gap in self._gaps), target + 1]
            last = min(offset for offset in known if offset > self.done) - 1
            out.append(Gap(self.done + 1, last, "unexplained"))
            self.done = last
            out += self._walk(limit)
        return out

    def _walk(self, limit: int | None) -> list[Effect]:
        """Hand over, and tell gaps, as far as there is no hole."""
        out: list[Effect] = []
        while limit is None or self.done < limit:
            offset = self.done + 1
            if offset in self._pages:
                out.append(Hand(offset, "pulled", self._pages.pop(offset)))
                self.done = offset
            elif offset in self._buffer:
                out.append(Hand(offset, "merged", self._buffer.pop(offset)))
                self.done = offset
            elif gap := next((gap for gap in self._gaps if gap.first <= offset <= gap.last), None):
                at_hand = [have - 1 for have in (*self._pages, *self._buffer) if have > offset]
                self.done = min([gap.last, *at_hand, *([] if limit is None else [limit])])
                out.append(Gap(offset, self.done, gap.reason))
            else:
                break
        self._buffer = {offset: message for offset, message in self._buffer.items() if offset > self.done}
        self._pages = {offset: message for offset, message in self._pages.items() if offset > self.done}
        self._gaps = [gap for gap in self._gaps if gap.last > self.done]
        self.head = max(self.head, self.done)
        return out

    def _keep(self, offset: int) -> list[Effect]:
        """Empty if there is room. Otherwise drop all of it: the next pull brings it."""
        if self._missed:
            self._missed = max(self._missed, offset)
            return [Drop(offset, "overflow")]
        if len(self._buffer) + len(self._gaps) < self._limit:
            return []
        lost = sorted([*self._buffer, offset])
        self._missed = max([*lost, *(gap.last for gap in self._gaps)])
        self._buffer.clear()
        self._gaps.clear()
        return [Drop(each, "overflow") for each in lost]

    def _reset_frame(self, processed: int, epoch: str | None) -> list[Effect]:
        if self._told_reset and processed == self.done:
            self._told_reset = False
            return [Drop(processed, "duplicate")]
        out = self._reset(epoch, processed)
        if not self._caught_up:
            return out
        return out + self._ask(None)  # the frame names no head and seldom an epoch: the page does

    def _reset(self, epoch: str | None, processed: int) -> list[Effect]:
        self._clear()
        self._closed = None
        self.head = processed
        return [*self._adopt(epoch, processed), Gap(1, processed, "reset")]

    def _adopt(self, epoch: str | None, done: int) -> list[Effect]:
        self.epoch, self.done, self._placed = epoch, done, True
        return [Adopt(epoch, done)]

    def _forget_pull(self) -> None:
        self._pulling = False
        self._pages.clear()
        self._missed = 0
        self._suspect = 0

    def _clear(self) -> None:
        self._pages.clear()
        self._buffer.clear()
        self._gaps.clear()
        self._missed = 0
        self._suspect = 0
