"""The auditor: a history in, the broken promises out. Pure: it knows nothing of how the server works."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tests.faults import history as h
from tests.faults.known import Device, Log, Reader


class Violation(NamedTuple):
    """`promise`: P1 … P11 of docs/explanation/guarantees.md; `event`: the place in the history where it showed."""

    promise: str
    text: str
    event: int


class Auditor:
    """Takes the events one by one; `violations` grows with what is wrong."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self._place = 0
        self._stops = True
        self._logs: dict[str, Log] = defaultdict(Log)
        self._asked: dict[tuple[str, str], h.Asked] = {}
        #: Gaps are right only if what stood there could go: (stream, offset, reason, text, event).
        self._gaps: list[tuple[str, int, str, str, int]] = []
        self._devices: dict[str, Device] = defaultdict(Device)
        self._readers: dict[tuple[str, str], Reader] = defaultdict(Reader)
        #: Service → device, stream → offset → what the feed said, as often as it said it.
        self._feeds: dict[str, dict[tuple[str, str], dict[int, list[str]]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(list))
        )

    def take(self, event: h.Event) -> None:
        getattr(self, f"on_{type(event).__name__.lower()}")(event)
        self._place += 1

    def _wrong(self, promise: str, text: str) -> None:
        self.violations.append(Violation(promise, text, self._place))

    def _check(self, holds: bool, promise: str, text: str) -> None:
        if not holds:
            self._wrong(promise, text)

    # --- the log -----------------------------------------------------------------------------------------------------

    def on_asked(self, event: h.Asked) -> None:
        self._asked[event.stream, event.message] = event

    def on_confirmed(self, event: h.Confirmed) -> None:
        self._stands_at(event.stream, event.offset, event.message)
        self._logs[event.stream].confirmed.add(event.offset)

    def _stands_at(self, stream: str, offset: int, message: str) -> None:
        """Somebody saw this message at this offset: everybody must, and nowhere else."""
        log = self._logs[stream]
        if (stream, message) not in self._asked:
            self._wrong("P1", f"{stream} {offset}: {message!r} is a phantom, nobody published it")
        known = log.messages.setdefault(offset, message)
        self._check(known == message, "P1", f"{stream} {offset} is {known!r} and {message!r}")
        place = log.offsets.setdefault(message, offset)
        self._check(place == offset, "P2", f"{stream}: {message!r} stands at {place} and at {offset}")

    def on_removable(self, event: h.Removable) -> None:
        for offset in range(event.first, event.last + 1):
            self._logs[event.stream].removable[offset].add(event.reason)

    def on_valued(self, event: h.Valued) -> None:
        newest = self._logs[event.stream].newest
        newest[event.key] = max(newest.get(event.key, 0), event.version)

    def on_restored(self, event: h.Restored) -> None:
        log = self._logs[event.stream]
        log.before = {message for stream, message in self._asked if stream == event.stream}
        for offset in [offset for offset in log.messages if offset > event.head]:
            log.offsets.pop(log.messages.pop(offset), None)
        log.confirmed = {offset for offset in log.confirmed if offset <= event.head}
        log.newest.clear()
        log.restored = event.head
        for device in self._devices.values():
            device.generation = 0  # it was in the database as well
        for (_, stream), reader in self._readers.items():
            if stream == event.stream:
                reader.unaware = True
                reader.missed.clear()  # a purge, or what had expired, may be undone with it
                reader.owes_reset = reader.owes_reset or reader.stored > event.head
                reader.forgotten.update(offset for offset in reader.failed if offset <= reader.saved)
                reader.saved = reader.asked_saved = reader.asked_head = 0
                reader.asked_at.clear()
                reader.shown.clear()
                reader.waits = None
                reader.told_halts.clear()
                reader.halts = {offset for offset in reader.halts if offset <= event.head}

    # --- hand-over ---------------------------------------------------------------------------------------------------

    def on_joined(self, event: h.Joined) -> None:
        self._readers[event.device, event.stream].joined = event.at

    def on_adopted(self, event: h.Adopted) -> None:
        reader = self._readers[event.device, event.stream]
        least = max(reader.joined or 0, reader.reported)
        self._check(event.at <= least, "P4", f"{event}: nothing above {least} was ever processed")
        reader.position = reader.stored = event.at

    def on_handed(self, event: h.Handed) -> None:
        reader = self._readers[event.device, event.stream]
        if reader.position is not None:
            self._follows(reader.position, event.offset, event)
        if not (reader.unaware and event.message in self._logs[event.stream].before):
            self._check(not reader.owes_reset, "P11", f"{event}: its history is another one, and it was not told")
            self._stands_at(event.stream, event.offset, event.message)
        reader.position = reader.open = event.offset

    def _follows(self, position: int, first: int, event: h.Handed | h.Told) -> None:
        if first <= position:
            self._wrong("P3", f"{event}: it had been at {position} already")
        elif first > position + 1:
            self._wrong("P2", f"{event}: {position + 1} to {first - 1} were left out")

    def on_returned(self, event: h.Returned) -> None:
        reader = self._readers[event.device, event.stream]
        self._check(reader.open == event.offset, "P4", f"{event}: the handler has {reader.open}")
        reader.open = None
        reader.stored = event.offset
        if reader.unaware:
            reader.owes_reset = reader.owes_reset or event.offset > (self._logs[event.stream].restored or 0)
        (reader.failed.add if event.failed else reader.failed.discard)(event.offset)
        reader.furthest = max(reader.furthest, event.offset)

    def on_stopped(self, event: h.Stopped) -> None:
        reader = self._readers[event.device, event.stream]
        back = reader.open != event.offset
        if back:
            self._check(event.offset in reader.failed, "P3", f"{event}: it goes back, and nothing had failed there")
            reader.undone.update(range(event.offset, (reader.position or 0) + 1))
        reader.open = None
        reader.failed.add(event.offset)
        reader.halts.add(event.offset)
        reader.furthest = max(reader.furthest, event.offset)
        reader.stored = min(reader.stored, event.offset - 1)
        reader.position = event.offset - 1

    def on_wenton(self, event: h.WentOn) -> None:
        reader = self._readers[event.device, event.stream]
        most = self._reported(reader, event.stream)
        self._check(event.upto <= most, "P4", f"{event}: nobody let it go on beyond {most}")
        self._check(event.upto <= reader.furthest, "P2", f"{event}: it was never beyond {reader.furthest}")
        reader.position = reader.stored = event.upto

    def on_told(self, event: h.Told) -> None:
        reader = self._readers[event.device, event.stream]
        if event.reason == "reset":
            self._check(event.last <= max(reader.reported, reader.joined or 0), "P4", f"{event}: nothing was processed")
            self._check(self._logs[event.stream].restored is not None, "P11", f"{event}: its history is what it was")
            reader.owes_reset = False
            reader.missed = {offset for offset in reader.missed if offset <= event.last}
        else:
            if reader.position is not None:
                self._follows(reader.position, event.first, event)
            self._gaps += [
                (event.stream, offset, event.reason, str(event), self._place)
                for offset in range(event.first, event.last + 1)
            ]
            reader.missed.update(range(event.first, event.last + 1))
            reader.furthest = max(reader.furthest, event.last)
        reader.position = reader.stored = event.last

    def on_killed(self, event: h.Killed) -> None:
        for (device, _), reader in self._readers.items():
            if device == event.device and reader.position is not None:
                reader.position, reader.open = reader.stored, None

    # --- results -----------------------------------------------------------------------------------------------------

    def on_reported(self, event: h.Reported) -> None:
        reader = self._readers[event.device, event.stream]
        self._check(event.upto <= reader.stored, "P4", f"{event}: the handlers got to {reader.stored}")
        reader.reported = max(reader.reported, event.upto)
        reader.waits = None
        if event.stopped is not None:
            self._check(event.stopped in reader.halts, "P4", f"{event}: no handler failed there")
            if not self._stops:
                reader.let_go.add(event.stopped)

    def on_decreed(self, event: h.Decreed) -> None:
        self._stops = event.stops
        for reader in self._readers.values():
            reader.waits = None
            if not event.stops:
                reader.let_go.update(reader.halts)

    def on_saved(self, event: h.Saved) -> None:
        reader = self._readers[event.device, event.stream]
        self._processed(reader, event.processed, reader.saved, event)
        reader.saved = max(reader.saved, event.processed)
        if event.stopped is not None:
            reader.waits = event.stopped
            reader.told_halts.add(event.stopped)

    def on_waiting(self, event: h.Waiting) -> None:
        reader = self._readers[event.device, event.stream]
        if reader.waits is not None:
            self._check(event.offset == reader.waits, "P7", f"{event}: it waits at {reader.waits}")
        elif event.offset is not None:
            known = event.offset in reader.halts | reader.failed
            self._check(known, "P7", f"{event}: nothing ever failed there")

    def _reported(self, reader: Reader, stream: str) -> int:
        """How far its reports go at most. A failure at which it waited: if the operator let it go, or it is gone."""
        most = max(reader.reported, reader.joined or 0)
        beyond = most + 1
        passed = beyond in reader.halts and (beyond in reader.let_go or bool(self._reasons(stream, beyond)))
        return beyond if passed else most

    def on_stands(self, event: h.Stands) -> None:
        reader = self._readers[event.device, event.stream]
        self._processed(reader, event.processed, reader.asked_saved, event)
        self._check(event.received <= event.head, "P2", f"{event}: nobody can have received what there is not")
        self._check(event.head >= reader.asked_head, "P1", f"{event}: {reader.asked_head} was confirmed")

    def _processed(self, reader: Reader, processed: int, confirmed: int, event: h.Saved | h.Stands) -> None:
        most = self._reported(reader, event.stream)
        self._check(processed <= most, "P4", f"{event}: no more than {most} was reported")
        self._check(processed >= confirmed, "P5", f"{event}: {confirmed} had been confirmed")

    def on_heard(self, event: h.Heard) -> None:
        reader = self._readers[event.device, event.stream]
        said = self._feeds[event.service][event.device, event.stream]
        for offset in range(event.first, event.last + 1):
            said[offset].append(event.status)
            if event.status == "gap":
                self._gaps.append((event.stream, offset, "", str(event), self._place))
            else:
                reported = offset <= reader.reported or (event.status == "failed" and offset in reader.halts)
                self._check(reported, "P4", f"{event}: {offset} was never reported")

    def on_feedread(self, event: h.FeedRead) -> None:
        feed = self._feeds[event.service]
        for (device, stream), reader in self._readers.items():
            said = feed[device, stream]
            for offset, message in sorted(self._logs[stream].messages.items()):
                asked = self._asked.get((stream, message))
                if asked and asked.service == event.service:
                    here = f"{device} {stream} {offset}"
                    self._one_result(reader, here, offset, said.get(offset, []), asked.quiet)

    def _one_result(self, reader: Reader, where: str, offset: int, said: list[str], quiet: bool) -> None:
        halted = offset in reader.halts and said[:1] == ["failed"]
        once = len(said) <= 1 or (len(said) == 2 and halted and said[1] != "failed")
        self._check(once, "P5", f"{where} is in the feed {len(said)} times: {said}")
        if offset in reader.told_halts:
            self._check("failed" in said, "P5", f"{where}: it waited there, and the service never heard")
        well = offset not in reader.failed | reader.missed
        if quiet and well and said == ["processed"]:
            self._wrong("P5", f"{where}: its type requires no result, and the service heard of it")
        if (reader.joined or 0) < offset <= reader.saved and not (quiet and well):
            self._check(bool(said), "P5", f"{where}: its result was confirmed, and the service never heard")
        if offset in reader.missed and said:
            self._check(said[-1] == "gap", "P4", f"{where} was told as a gap, and the service heard {said[-1]!r}")
        elif said and said[-1] != "gap" and not self._may_differ(reader, offset):
            status = "processed" if well else "failed"
            self._check(said[-1] == status, "P5", f"{where}: the handler made it {status}, the service heard {said}")

    @staticmethod
    def _may_differ(reader: Reader, offset: int) -> bool:
        """It was handed over more than once, and another time than the last may be what counts."""
        return offset in reader.forgotten | reader.undone or (offset in reader.halts and offset in reader.let_go)

    # --- presence ----------------------------------------------------------------------------------------------------

    def on_came(self, event: h.Came) -> None:
        device = self._devices[event.device]
        self._check(event.generation > device.generation, "P5", f"{event}: {device.generation} was before")
        device.generation = event.generation
        for (name, _), reader in self._readers.items():
            if name == event.device:
                reader.here.clear()
                reader.unaware = False

    def on_wants(self, event: h.Wants) -> None:
        self._devices[event.device].wants = event.state
        if event.state == "foreground":
            for (name, stream), reader in self._readers.items():
                if name == event.device:
                    log = self._logs[stream]
                    reader.asked_head, reader.asked_saved = log.head, reader.saved
                    reader.asked_at = dict(log.newest)

    def on_agreed(self, event: h.Agreed) -> None:
        device = self._devices[event.device]
        device.agreed = event.state
        if event.state == "foreground":
            for (name, _), reader in self._readers.items():
                if name == event.device:
                    reader.here.clear()

    def _away(self, device: str) -> bool:
        state = self._devices[device]
        return state.wants == state.agreed == "background"

    def on_shown(self, event: h.Shown) -> None:
        reader = self._readers[event.device, event.stream]
        self._check(not self._away(event.device), "P6", f"{event}: it is in the background")
        before = reader.here.get(event.key, 0)
        self._check(event.version > before, "P6", f"{event}: {before} had been shown")
        newest = reader.asked_at.get(event.key, 0)
        self._check(event.version >= newest, "P6", f"{event}: {newest} was the newest when it came back")
        reader.here[event.key] = event.version
        reader.shown[event.key] = max(reader.shown.get(event.key, 0), event.version)

    def on_passed(self, event: h.Passed) -> None:
        self._check(not self._away(event.device), "P6", f"{event}: it is in the background")

    def on_settled(self, event: h.Settled) -> None:
        for (device, stream), reader in self._readers.items():
            if device != event.device or reader.joined is None:
                continue
            log = self._logs[stream]
            have = reader.stored if reader.position is not None else reader.joined
            self._check(have >= log.head, "P2", f"{device} {stream}: {have + 1} to {log.head} never came")
            for key, version in log.newest.items():
                shown = reader.shown.get(key, 0)
                self._check(shown >= version, "P6", f"{device} {stream} {key}: {shown} is shown, {version} the newest")

    def end(self) -> list[Violation]:
        """All violations, with those that show only in the end: gaps where nothing was to go."""
        unseen: dict[str, set[int]] = defaultdict(set)
        for stream, offset, reason, text, place in self._gaps:
            if reason in self._reasons(stream, offset):
                continue
            if reason in {"expired", ""} and offset not in self._logs[stream].messages:
                unseen[stream].add(offset)
            else:
                self.violations.append(Violation("P7", f"{text}: nobody removed {offset} for this reason", place))
        for stream, offsets in unseen.items():
            self._may_have_expired(stream, offsets)
        self._gaps.clear()
        return self.violations

    def _may_have_expired(self, stream: str, offsets: set[int]) -> None:
        """Nobody ever saw what stood there: a message with a short life whose publisher heard no answer, or a loss."""
        log = self._logs[stream]
        lost = [asked for asked in self._asked.values() if asked.stream == stream and asked.mortal]
        most = sum(asked.message not in log.offsets for asked in lost)
        self._check(len(offsets) <= most, "P7", f"{stream}: {sorted(offsets)} are told as expired, {most} may have")

    def _reasons(self, stream: str, offset: int) -> set[str]:
        """Why this offset may be missing; "" if there is any reason at all."""
        log = self._logs[stream]
        asked = self._asked.get((stream, log.messages.get(offset, "")))
        reasons = log.removable.get(offset, set()) | ({"expired"} if asked and asked.mortal else set())
        return reasons | {""} if reasons else set()


def audit(events: Iterable[h.Event]) -> list[Violation]:
    """Every promise the history breaks."""
    auditor = Auditor()
    for event in events:
        auditor.take(event)
    return auditor.end()
