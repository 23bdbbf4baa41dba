"""What services are told of where devices are: that one came, and its notices, at once; that one went, after a delay.

The one place where a change of presence is told. What was told last stands in the device's row (`told_state`): so a
quick return tells nothing, the delay outlives the process that noticed the end of the connection, and of several
processes one tells.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.conf import settings
from django.db import transaction

from messaging.log import outbox, sql
from messaging.log.effects import Effects

#: Devices of one round.
MOST = 1000


def tell_now(devices: Collection[int], effects: Effects) -> list[int]:
    """Tells of those of the devices whose state is another than what was told: inside the transaction that set it.

    Every change of presence that is told comes by here, in the transaction that marks it told. → the devices told of
    """
    if not devices:
        return []
    source = sql.rows("r", id="bigint")
    told = sql.run(
        f"UPDATE messaging_presence SET told_state = state, told_at = {sql.moment()} FROM {source}"
        " WHERE messaging_presence.device_id = r.id AND told_state <> state RETURNING device_id",
        sql.stamp(sql.now()),
        sql.packed((device,) for device in devices),
    )
    if not told:
        return []
    changes = sql.run(
        f"SELECT d.app_id, d.id FROM {source} JOIN apps_registry_device d ON d.id = r.id ORDER BY d.id",
        sql.packed(told),
    )
    # Who follows reads what it has not told yet.
    effects.presences.extend({app for app, _ in changes})
    outbox.note_presence(changes)
    return [device for _, device in changes]


def tell_due(effects: Effects, *, most: int = MOST) -> list[int]:
    """One round: tells of at most so many devices that went and stayed away for the leave delay. → the devices.

    A transaction of its own where there are any. Several processes may run it at once: each device is told of by one.
    """
    # In the words and the order of the index: by another order SQLite goes through all devices, as it does for <>. No
    # row's lock is waited for, so that the order of locks does not matter.
    due = (
        "SELECT p.device_id FROM messaging_presence p WHERE p.state = 'offline' AND NOT (p.told_state = 'offline')"
        f" AND p.last_seen <= {sql.moment()} ORDER BY p.last_seen LIMIT %s"
    )
    before = sql.stamp(sql.now() - timedelta(seconds=settings.MEANWHILE_LEAVE_DELAY))
    if not sql.run(due, before, most):
        return []
    with transaction.atomic():
        # A row that somebody holds is of a device that comes back, or is being told of by another process.
        gone = sql.run(f"{due}{sql.lock_free('p')}", before, most)
        return tell_now([device for (device,) in gone], effects)
