"""How much each app has stored, and may store: bytes of `data` and what a row costs besides.

A transaction that stores or removes adds one row that says by how much; a round adds those up. The limit is compared
with what the last round found, and within one publish with what it adds itself.
LIMIT: what several transactions store between two rounds (a second) can go beyond an app's limit by as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.conf import settings
from msgspec import Struct

from messaging.log import sql
from messaging.protocol import wire

#: What a message or a value costs besides its `data`: many small ones fill a disk as well as a few large ones.
OVERHEAD = 100
#: Changes of one round.
MOST = 10_000


def size_of(payload: str) -> int:
    """What a message or a value with this JSON text takes."""
    return OVERHEAD + wire.octets(payload)


def size_in_sql(column: str) -> str:
    return f"({sql.octets(column)} + {OVERHEAD})"


class Space:
    """What an app may still store within one transaction, and what it has stored by it."""

    __slots__ = ("_left", "added")

    def __init__(self, *, stored: int, limit: int | None) -> None:
        limit = settings.MEANWHILE_APP_BYTES if limit is None else limit
        self._left = limit - stored if limit else None
        self.added = 0

    def fits(self, size: int) -> bool:
        return self._left is None or size <= self._left

    def take(self, size: int) -> None:
        """So much less fits: a value, of which the database knows what it replaces."""
        if self._left is not None:
            self._left -= size

    def add(self, size: int) -> None:
        """A message is stored."""
        self.take(size)
        self.added += size


def changed(by_app: Mapping[int, int]) -> None:
    """Apps have stored so many bytes more: inside the transaction that stored them."""
    rows = [(app, size) for app, size in by_app.items() if size]
    if rows:
        source = sql.rows("r", app_id="bigint", size="bigint")
        sql.run(
            f"INSERT INTO messaging_storagechange (app_id, stored) SELECT r.app_id, r.size FROM {source}",
            sql.packed(rows),
        )


def freed(sizes: Iterable[tuple[int, int]]) -> None:
    """Streams have so many bytes less, (stream, bytes) each: inside the transaction that removed them."""
    by_stream: dict[int, int] = {}
    for stream, size in sizes:
        by_stream[stream] = by_stream.get(stream, 0) + size
    if by_stream:
        source = sql.rows("r", stream_id="bigint", size="bigint")
        sql.run(
            "INSERT INTO messaging_storagechange (app_id, stored)"
            f" SELECT s.app_id, -sum(r.size) FROM {source} JOIN messaging_stream s ON s.id = r.stream_id"
            " GROUP BY s.app_id",
            sql.packed(by_stream.items()),
        )


def due() -> bool:
    """Whether something was stored or removed since the last round."""
    return bool(sql.run("SELECT 1 FROM messaging_storagechange LIMIT 1"))


class AddUp(Struct):
    """A round is due."""


def add_up(*, most: int = MOST) -> int:
    """One round: adds at most so many changes to what their apps have stored. → changes.

    Inside a transaction; several processes may run it at once: each change is taken by one.
    """
    changes = sql.run(
        "DELETE FROM messaging_storagechange WHERE id IN"
        f" (SELECT c.id FROM messaging_storagechange c ORDER BY c.id LIMIT %s{sql.lock_free('c')})"
        " RETURNING app_id, stored",
        most,
    )
    totals: dict[int, int] = {}
    for app, stored in changes:
        totals[app] = totals.get(app, 0) + stored
    if totals:
        source = sql.rows("r", app_id="bigint", stored="bigint")
        sql.run(
            "INSERT INTO messaging_appstorage (app_id, stored)"
            f" SELECT a.id, r.stored FROM {source} JOIN apps_registry_app a ON a.id = r.app_id WHERE true"
            " ORDER BY a.id"
            " ON CONFLICT (app_id) DO UPDATE SET stored = messaging_appstorage.stored + excluded.stored",
            sql.packed(totals.items()),
        )
    return len(changes)


def used(app_id: int) -> int:
    """The bytes an app has stored at this moment."""
    return int(
        sql.run(
            "SELECT coalesce((SELECT u.stored FROM messaging_appstorage u WHERE u.app_id = %s), 0)"
            " + coalesce((SELECT sum(c.stored) FROM messaging_storagechange c WHERE c.app_id = %s), 0)",
            app_id,
            app_id,
        )[0][0]
    )
