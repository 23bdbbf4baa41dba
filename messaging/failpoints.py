"""Named places at which a test has this process killed, as by `kill -9`. Off, a place is a call of an empty function.

MEANWHILE_FAILPOINT=NAME[:N] kills when NAME is reached for the N-th time. Not a setting of the product: it is for
tests/faults alone, read here once, and no reference lists it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import count

#: Every place there is; a test compares them with the calls, and kills at each.
NAMES = (
    "publish.before_insert",
    "publish.after_insert",
    "publish.after_commit",
    "publish.after_push",
    "pull.after_read",
    "ack.before_commit",
    "ack.after_commit",
    "result.before_commit",
    "result.after_commit",
    "hello.before_commit",
    "hello.after_commit",
    "notice.before_commit",
    "notice.after_commit",
    "cleanup.before_delete",
    "cleanup.before_commit",
    "cleanup.after_commit",
)
#: In workers, which the kills of servers do not reach.
OF_WORKERS = ("webhook.after_post",)


def _off(name: str) -> None:
    pass


def _armed(spec: str) -> Callable[[str], None]:
    fatal, _, times = spec.partition(":")
    if fatal not in NAMES + OF_WORKERS:
        raise SystemExit(f"MEANWHILE_FAILPOINT: there is no {fatal!r}")
    last = int(times or 1)
    reached = count(1)

    def hit(name: str) -> None:
        if name == fatal and next(reached) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    return hit


_spec = os.environ.get("MEANWHILE_FAILPOINT", "")
#: hit(name): this place is reached.
hit: Callable[[str], None] = _armed(_spec) if _spec else _off
