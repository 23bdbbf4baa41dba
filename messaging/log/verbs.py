"""What the Journal writes: a verb for each kind of command, in the order in which they run within a transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from messaging.log import answers, cursors, membership, presence, returns, storage
from messaging.log.effects import Effects
from messaging.log.reading import Entry

#: What a verb answers to a command; a ProtocolError where it is refused.
Outcome = Any


def run(bodies: Sequence[Any], effects: Effects) -> list[Outcome]:
    """Runs all commands, the same kind together; → their outcomes, in the order of the commands.

    Inside a transaction. Those of one kind run in the order in which they came, kinds in that of `VERBS`.
    """
    by_kind: dict[type[Any], list[int]] = {}
    for place, body in enumerate(bodies):
        by_kind.setdefault(type(body), []).append(place)
    outcomes: list[Outcome] = [None] * len(bodies)
    held: set[Any] = set()
    for kind, verb in VERBS.items():
        if places := by_kind.get(kind):
            if kind in _HOLDS and kind not in held:
                kinds, hold = _HOLDS[kind]
                held.update(kinds)
                hold([bodies[place] for one in kinds for place in by_kind.get(one, ())])
            found = verb([bodies[place] for place in places], effects)
            for place, outcome in zip(places, found, strict=True):
                outcomes[place] = outcome
    return outcomes


class Joining(Struct):
    """A device goes into a room. `history`: what a newcomer gets of the past."""

    app_id: int
    device_id: int
    stream: str
    history: membership.History | None = None


class Leaving(Struct):
    """A device goes out of a room."""

    device_id: int
    stream: str


def _join(joining: Sequence[Joining], effects: Effects) -> list[Entry | None]:
    for history in dict.fromkeys(one.history for one in joining):
        membership.subscribe([(j.app_id, j.device_id, j.stream) for j in joining if j.history == history], history)
    return [membership.entry_of(j.device_id, j.stream) for j in joining]


def _unsubscribe(leaving: Sequence[Leaving], effects: Effects) -> list[None]:
    membership.unsubscribe({(one.device_id, one.stream) for one in leaving})
    return [None] * len(leaving)


def _leave(departures: Sequence[presence.Departure], effects: Effects) -> list[None]:
    presence.leave(departures, effects)
    return [None] * len(departures)


def _add_up(rounds: Sequence[storage.AddUp], effects: Effects) -> list[None]:
    storage.add_up()
    return [None] * len(rounds)


def _quiet(function: Callable[[Sequence[Any]], None]) -> Callable[[Sequence[Any], Effects], list[None]]:
    """A verb that tells nobody anything."""

    def run(bodies: Sequence[Any], effects: Effects) -> list[None]:
        function(bodies)
        return [None] * len(bodies)

    return run


#: The verbs in the order they run in within a batch: the lock order, and heads are read after the appends.
VERBS: dict[type[Any], Callable[[Any, Effects], Sequence[Outcome]]] = {
    Joining: _join,
    answers.Request: answers.publish,
    cursors.Receipt: _quiet(cursors.receive),
    cursors.Report: cursors.advance,
    Leaving: _unsubscribe,
    presence.Arrival: presence.enter,
    presence.NoticeGiven: presence.notice,
    returns.Finished: _quiet(returns.finish),
    presence.Polling: presence.poll,
    presence.Lease: presence.renew,
    presence.Departure: _leave,
    storage.AddUp: _add_up,
}

#: Those that touch subscriptions, and those that touch devices' presence: locked together before the first of each.
_READERS = (cursors.Receipt, cursors.Report, Leaving)
_DEVICES = (
    presence.Arrival,
    presence.NoticeGiven,
    returns.Finished,
    presence.Polling,
    presence.Lease,
    presence.Departure,
)


def _hold_subscriptions(bodies: Sequence[Any]) -> None:
    receipts = [body for body in bodies if isinstance(body, cursors.Receipt)]
    cursors.hold(receipts, {(body.device_id, body.stream) for body in bodies if not isinstance(body, cursors.Receipt)})


def _hold_devices(bodies: Sequence[Any]) -> None:
    presence.hold({body.device_id for body in bodies})


_HOLDS: dict[type[Any], tuple[tuple[type[Any], ...], Callable[[Sequence[Any]], None]]] = {
    **dict.fromkeys(_READERS, (_READERS, _hold_subscriptions)),
    **dict.fromkeys(_DEVICES, (_DEVICES, _hold_devices)),
}

#: Where tests kill this process: after a commit, before anybody was told of it.
COMMITTED: dict[type[Any], str] = {
    answers.Request: "publish.after_commit",
    cursors.Receipt: "ack.after_commit",
    cursors.Report: "result.after_commit",
    presence.Arrival: "hello.after_commit",
    presence.NoticeGiven: "notice.after_commit",
}
