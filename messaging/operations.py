"""What an operator does to devices when something is wrong, and how a room ends. The admin and the API call these.

Never on the event loop: they ask the database, and wait for the loop.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Collection

from django.conf import settings
from django.db import transaction

from apps_registry.devices import issue_token, renew_tokens, revoke_device
from apps_registry.models import Device
from messaging.live import node
from messaging.live.hub import Hub
from messaging.log import retention, sql
from messaging.log.effects import Effects
from messaging.models import Stream, StreamKind, Subscription

log = logging.getLogger("meanwhile.operations")

#: Seconds the event loop has to answer.
PATIENCE = 5.0


def disconnect(device_ids: Collection[int]) -> int:
    """Closes the open connections of devices with `forced_off` (4503): their clients do not come back by themselves,
    only when the app connects anew. → connections closed.

    LIMIT: closes what this process holds. A device on another process keeps its connection; to keep it out for good,
    revoke it, which every process sees within the repair interval.
    """
    here = node.running()
    if here is None or here.loop is None:
        return 0
    closing = asyncio.run_coroutine_threadsafe(_force_off(here.hub, list(device_ids)), here.loop)
    closed = closing.result(PATIENCE)
    log.info("disconnected %d of %d devices", closed, len(device_ids))
    return closed


async def _force_off(hub: Hub, device_ids: list[int]) -> int:
    sessions = [hub.sessions[id] for id in device_ids if id in hub.sessions]
    for session in sessions:
        session.link.bye("forced_off")
    return len(sessions)


def purge(device_ids: Collection[int]) -> int:
    """Removes what waits in the devices' own streams (`device:NAME`), with a gap. → messages removed.

    The services hear a result `gap`, the devices a `gap` before their next message. What waits in streams of users and
    rooms stays: other devices read it.
    """
    return sum(_purge(device) for device in Device.objects.filter(pk__in=device_ids).select_related("app"))


def skip(device_ids: Collection[int]) -> int:
    """Takes away the message at which the devices' own streams wait, since their apps failed on it (`on_failure`:
    stop); what comes behind it stays. A gap, as of a purge, and at the next return the stream goes on. → streams.

    Streams of users and rooms are left alone: other devices may yet take what this one cannot.
    """
    own = Subscription.objects.filter(device__in=device_ids, stream__kind=StreamKind.DEVICE).stopped()
    return sum(bool(_purge(one.device, upto=one.stopped_at)) for one in own.select_related("device__app"))


def _purge(device: Device, upto: int | None = None) -> int:
    """One transaction a device: the stream is locked no longer than that. upto: None is all of it."""
    effects = Effects()
    with transaction.atomic():
        stream = Stream.objects.filter(app=device.app_id, name=f"device:{device.name}").first()
        if stream is None:
            return 0
        upto = stream.head if upto is None else upto
        removed = retention.purge(stream_id=stream.pk, upto=upto, effects=effects)
        transaction.on_commit(lambda: node.announce(effects))
    log.warning("purged app=%s device=%s messages=%d upto=%d", device.app.name, device.name, removed, upto)
    return removed


@transaction.atomic
def new_token(device: Device) -> tuple[str, dt.datetime]:
    """A token and when it ends. Older tokens of the device are void from now on, and its open connection is ended by
    the next repair round. Raises DeviceRevoked."""
    renew_tokens(device=device)
    issued = issue_token(device=device, life=settings.MEANWHILE_TOKEN_LIFE)
    log.info("new token app=%s device=%s version=%d", device.app.name, device.name, device.token_version)
    return issued


@transaction.atomic
def revoke(device_ids: Collection[int]) -> int:
    """Keeps devices out until they are registered again; open connections are closed. → newly revoked."""
    revoked = [
        device.pk
        for device in Device.objects.filter(pk__in=device_ids).select_related("app")
        if revoke_device(device=device)
    ]
    transaction.on_commit(lambda: node.announce(Effects(devices=revoked)))
    return len(revoked)


def close_room(stream: Stream) -> bool:
    """Ends a room for good: what was published is still delivered, then `stream_closed`. False if it was closed before.

    It waits for the row's lock, as publishing does: a message is wholly before or after the closing. The time is taken
    under the lock: who was last heard of while it waited has not been told.
    """
    with transaction.atomic():
        row = Stream.objects.select_for_update(no_key=True).get(pk=stream.pk)
        if row.closed_at is not None:
            return False
        row.closed_at = sql.now()
        row.save(update_fields=["closed_at"])
        transaction.on_commit(lambda: node.announce(Effects(streams=[stream.pk])))
    log.info("closed app=%s stream=%s", stream.app_id, stream.name)
    return True
