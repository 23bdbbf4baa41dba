"""Drives a Merge with the events of a vector, and tells its effects in the vectors' words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from messaging.protocol.merge import Merge
from messaging.protocol.merge_effects import Adopt, Buffer, Closed, Drop, Effect, Gap, Hand, Live, Pull

Event = dict[str, Any]


def drive(merge: Merge, event: Event) -> list[Effect]:
    """One event of a vector: `["message", 7]`, `["page", {…}]`, …"""
    name, about = event["event"], {key: value for key, value in event.items() if key != "event"}
    drivers: dict[str, Callable[[], list[Effect]]] = {
        "expect": merge.expect,
        "begin": lambda: merge.begin(**about),
        "recover": merge.recover,
        "message": lambda: merge.message({"offset": about["offset"]}),
        "gap": lambda: merge.gap(**renamed(about)),
        "page": lambda: merge.page(
            **{
                **about,
                "messages": [{"offset": offset} for offset in about["messages"]],
                "gaps": [Gap(gap["from"], gap["to"], gap["reason"]) for gap in about.get("gaps", [])],
            }
        ),
        "gone": lambda: merge.gone(**about),
        "caught_up": lambda: merge.caught_up(**about),
        "closed": lambda: merge.closed(**about),
        "away": lambda: merge.away(**about),
    }
    return drivers[name]()


def renamed(gap: dict[str, Any]) -> dict[str, Any]:
    return {{"from": "first", "to": "last"}.get(key, key): value for key, value in gap.items()}


def told(effect: Effect) -> dict[str, Any]:
    match effect:
        case Hand(offset, path, _):
            return {"effect": "hand", "offset": offset, "path": path}
        case Gap(first, last, reason):
            return {"effect": "gap", "from": first, "to": last, "reason": reason}
        case Pull(pull, after, until, epoch):
            return {"effect": "pull", "pull": pull, "after": after, "until": until, "epoch": epoch}
        case Adopt(epoch, done):
            return {"effect": "adopt", "epoch": epoch, "done": done}
        case Buffer(offset):
            return {"effect": "buffer", "offset": offset}
        case Drop(offset, why):
            return {"effect": "drop", "offset": offset, "why": why}
        case Live(done):
            return {"effect": "live", "done": done}
        case Closed(head):
            return {"effect": "closed", "head": head}


def standing(merge: Merge) -> dict[str, Any]:
    return {"state": merge.state, "epoch": merge.epoch, "done": merge.done, "buffered": merge.buffered}
