"""Lineage: is this the history that devices were told of, or was an older one put back (P11)?

When it is another one, every stream gets a new epoch: devices hear `reset`, drop their positions and take everything
after the server's cursor. Each database says in its own way where it comes from.

PostgreSQL has a system identifier (new with every cluster: a dump restored elsewhere) and a timeline (one more with
every promotion and every point-in-time recovery). Both are kept in the table `Lineage` and compared at each new
connection of the writer, before its first command: a failover breaks connections, so no cursor moves on a history
that was not looked at. The repair round compares too, for connections that a pooler keeps open. A planned switch-over
loses nothing and is a new timeline all the same: it costs devices what they had not reported yet, once more.
LIMIT: a restore into the same cluster (`pg_restore` over it) shows in neither: `manage.py rotate_epoch`.

SQLite has only its file, and a copy of it knows nothing of its age. So a side file beside it says what the database
must hold: a nonce, drawn anew at each start and stored in both, and a mark: how much had been stored when somebody was
last told of it. The database counts what it stores (`Lineage.stored`) in the transaction that stores it; the mark is
written after the commit and before anybody hears of it. So

- the mark is never above what a sound database holds, whenever the process dies: no false alarm after kill -9. An
  fsync per commit is not needed for that: what the kernel had not written when the power failed makes the mark lower.
- an older file has another nonce (it was copied before the last start) or has stored less than the mark. What it lacks
  above the mark nobody was told of, so no device has a position there.
- the mark costs one `pwrite` per transaction, 2 µs; it is synced every few seconds and at the end.

Rejected: an fsync per commit (doubles the cost of a small one); a mark raised ahead of the log by a thousand (after a
kill, a copy of yesterday from a quiet server is within the thousand); sqlite_sequence instead of a counter (a migration
that rebuilds the table sets it back); only comparing devices' positions with the head (an old copy that has grown
past them again looks current).
LIMIT: a copy made in the last seconds before a power failure, and put back after it, is not noticed; nor is a folder
that was put back as a whole, side file and all: `manage.py rotate_epoch`. A side file that is missing counts as
another history: the two belong together.
"""

from __future__ import annotations

import logging
from pathlib import Path

from django.db import DatabaseError, NotSupportedError, ProgrammingError, connection, transaction
from msgspec import Struct

from messaging.log import sql
from messaging.log.sidefile import SideFile
from messaging.models import new_epoch

logger = logging.getLogger("meanwhile.lineage")

#: Feeds go on so far above where they were: a service that had read further than an old copy misses nothing new.
FEED_JUMP = 10**9

_POSTGRES = (
    "(SELECT system_identifier FROM pg_control_system())::text"
    " || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
)


class _Row(Struct):
    installation: str
    origin: str
    stored: int


def verify() -> None:
    """Holds the database against what is known of its history; gives new epochs if it is another one.

    In transactions of its own; idempotent; safe in several processes at once.
    """
    if sql.is_postgres():
        _verify_postgres()
    elif file := _side_file():
        _verify_sqlite(file)


def rotate() -> int:
    """Gives every stream a new epoch: its history is another one now. → streams. Inside a transaction."""
    _row()
    sql.run(f"SELECT s.id FROM messaging_stream s ORDER BY s.id{sql.lock('s')}")
    drawn = "substr(md5(random()::text || id), 1, 16)" if sql.is_postgres() else "lower(hex(randomblob(8)))"
    streams = sql.change(f"UPDATE messaging_stream SET epoch = {drawn}")
    sql.run(f"SELECT f.service_id FROM messaging_feed f ORDER BY f.service_id{sql.lock('f')}")
    sql.run("UPDATE messaging_feed SET head = head + %s", FEED_JUMP)
    sql.run(f"UPDATE messaging_lineage SET resets = resets + 1, since = {sql.moment()}", sql.stamp(sql.now()))
    return streams


def installation() -> str:
    """The name of this installation between processes."""
    return installed() or _row().installation


def installed() -> str:
    """The same, as far as it stands in the database: "" before the first start. Changes nothing."""
    found = sql.run("SELECT installation FROM messaging_lineage")
    return str(found[0][0]) if found else ""


def started_elsewhere() -> bool:
    """Whether another process has started on this file since this one did (SQLite; PostgreSQL: never)."""
    file = None if sql.is_postgres() else _side_file()
    return bool(file and file.nonce and not sql.run("SELECT 1 FROM messaging_lineage WHERE origin = %s", file.nonce))


def count(stored: int) -> int:
    """Counts what an append stores. → what has ever been stored, for `remember`; 0 where that is not needed.

    Inside the transaction that stores it.
    """
    if sql.is_postgres():
        return 0
    found = sql.run("UPDATE messaging_lineage SET stored = stored + %s RETURNING stored", stored)
    return int(found[0][0]) if found else 0


def remember(stored: int) -> None:
    """Writes the mark: so much has been stored. After the commit, before anybody is told. Never raises."""
    if stored and (file := _side_file()):
        file.write_mark(stored)


def sync() -> None:
    """Has the mark on disk, if it is not yet."""
    if not sql.is_postgres() and (file := _side_file()):
        file.sync()


def close() -> None:
    """At the end of a node: the mark is on disk, and SQLite's file is whole without its write-ahead log beside it.

    Never raises; closes the caller's connection.
    """
    try:
        sync()
        if not sql.is_postgres():
            # Whoever reads at this moment is not waited for: then it is for the next end.
            sql.run("PRAGMA busy_timeout=200")
            sql.run("PRAGMA wal_checkpoint(TRUNCATE)")
    except (OSError, DatabaseError) as error:
        logger.warning("not settled at the end: %s", type(error).__name__)
    finally:
        connection.close()


def _row() -> _Row:
    """The one row; made where it is missing."""
    made = sql.run(
        "INSERT INTO messaging_lineage (id, installation, origin, stored, resets, since)"
        f" VALUES (1, %s, '', 0, 0, {sql.moment()}) ON CONFLICT (id) DO NOTHING RETURNING id",
        new_epoch(),
        sql.stamp(sql.now()),
    )
    if made:
        logger.info("a new database")
    ((name, origin, stored),) = sql.run(
        f"SELECT l.installation, l.origin, l.stored FROM messaging_lineage l WHERE l.id = 1{sql.lock('l')}"
    )
    return _Row(name, origin, stored)


def _found_another(reason: str) -> None:
    streams = rotate()
    if streams:
        logger.error("another history: %s; %d streams got a new epoch", reason, streams)


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


def _verify_postgres() -> None:
    origin = _origin()
    if not origin or sql.run("SELECT 1 FROM messaging_lineage WHERE origin = %s", origin):
        return
    with transaction.atomic():
        row = _row()
        if row.origin == origin:
            return  # another process was first
        if row.origin:
            _found_another(f"{row.origin} was known, this is {origin}")
        sql.run("UPDATE messaging_lineage SET origin = %s", origin)


def _origin() -> str:
    """System identifier and timeline; "" where the database does not tell."""
    try:
        with transaction.atomic():
            return str(sql.run(f"SELECT {_POSTGRES}")[0][0])
    except (ProgrammingError, NotSupportedError) as error:
        global _told
        if not _told:
            logger.warning("the database does not say where its history comes from: %s", error)
            _told = True
        return ""


_told = False

# --- SQLite ----------------------------------------------------------------------------------------------------------


_files: dict[str, SideFile] = {}


def _side_file() -> SideFile | None:
    """The side file of the database in use; None for one in memory."""
    name = str(connection.settings_dict["NAME"])
    if sql.is_postgres() or ":memory:" in name or "mode=memory" in name:
        return None
    return _files.setdefault(name, SideFile(Path(f"{name}.lineage")))


def _verify_sqlite(file: SideFile) -> None:
    """The side file is written first so that it accepts both nonces, then the database, then the file once more:
    whenever the process dies in between, and however often, the next start comes to the same verdict.

    The file is read and written while the database is locked: of processes that start together one after the other.
    """
    fresh = new_epoch()
    with transaction.atomic():
        row, known = _row(), file.read()
        if reason := _suspicion(row, known):
            _found_another(reason)
        nonces, mark = known or ([], 0)
        accepted = [row.origin] if row.origin and not reason else nonces[-1:]
        file.write([*accepted, fresh], mark)
        sql.run("UPDATE messaging_lineage SET origin = %s", fresh)
    with transaction.atomic():
        # Nothing where another process has started since: the file is its own now.
        for (stored,) in sql.run("SELECT l.stored FROM messaging_lineage l WHERE l.origin = %s", fresh):
            file.write([fresh], stored)


def _suspicion(row: _Row, known: tuple[list[str], int] | None) -> str:
    """Why this is another history; "" if it is not."""
    if not row.origin:
        return ""  # never served: nobody was told of anything
    if known is None:
        return "the side file of the database is missing"
    nonces, mark = known
    if row.origin not in nonces:
        return "the database was copied before the last start"
    if row.stored < mark:
        return f"the database has stored {row.stored}, and {mark} had been"
    return ""
