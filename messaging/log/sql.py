"""What differs between the engines, and nothing more.

Rows go to the database as one JSON parameter, not by executemany: sqlite3 lets go of the interpreter lock at every
row, and with a busy event loop takes up to 5 ms to get it back. Measured: 475 rows/s by executemany beside a busy
thread, 16,000 as one statement; alone both do 180,000.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.db import connection

_encode = msgspec.json.Encoder().encode

#: Stands in no name and no JSON text.
_SEPARATOR = "\x1e"

_SQLITE_TIME = "replace(substr({0},1,23),' ','T')||'Z'"
_POSTGRES_TIME = "to_char(({0}) AT TIME ZONE 'UTC','YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"


def is_postgres() -> bool:
    return connection.vendor == "postgresql"


def rows(alias: str, **columns: str) -> str:
    """A table made of one parameter (see `packed`): FROM rows("r", id="bigint", name="text") → r.id, r.name."""
    if is_postgres():
        parts = ",".join(f"(v.value->>{i})::{kind} AS {name}" for i, (name, kind) in enumerate(columns.items()))
        return f"(SELECT {parts} FROM json_array_elements(%s::json) v) {alias}"
    parts = ",".join(f"json_extract(value,'$[{i}]') AS {name}" for i, name in enumerate(columns))
    return f"(SELECT {parts} FROM json_each(%s)) {alias}"


def packed(values: Iterable[Sequence[Any]]) -> str:
    """The parameter for `rows`."""
    return _encode(list(values)).decode()


def lock(of: str) -> str:
    """Row locks where the engine has them. SQLite's writer holds the whole database since BEGIN IMMEDIATE."""
    # NO KEY: whoever inserts a row that refers to one of these has its foreign key checked and must not wait for us.
    return f" FOR NO KEY UPDATE OF {of}" if is_postgres() else ""


def lock_free(of: str) -> str:
    """As `lock`, leaving out the rows that somebody else holds."""
    return f"{lock(of)} SKIP LOCKED" if is_postgres() else ""


def wait_for_locks(seconds: float) -> None:
    """How long this connection waits for SQLite's one writer. (PostgreSQL's row locks are held for milliseconds.)"""
    if not is_postgres():
        run(f"PRAGMA busy_timeout={int(seconds * 1000)}")


def octets(column: str) -> str:
    """SQL for the bytes of a text."""
    return f"octet_length({column})" if is_postgres() else f"length(CAST({column} AS BLOB))"


def time_text(column: str) -> str:
    """SQL for a moment as it stands on the wire."""
    return (_POSTGRES_TIME if is_postgres() else _SQLITE_TIME).format(column)


def unix_seconds(column: str) -> str:
    """SQL for a moment in whole seconds since 1970."""
    return f"extract(epoch from {column})::bigint" if is_postgres() else f"unixepoch({column})"


def joined(column: str) -> str:
    """SQL that makes one text of a column's values, which hold no control characters and no NULL. See `parted`."""
    return f"string_agg(({column})::text,'{_SEPARATOR}')" if is_postgres() else f"group_concat({column},'{_SEPARATOR}')"


def parted(text: str | None) -> list[str]:
    """The values that were `joined`."""
    return [] if text is None else text.split(_SEPARATOR)


def now() -> datetime:
    """The database's clock, in UTC. On SQLite that is this machine's."""
    if not is_postgres():
        return datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


def stamp(moment: datetime) -> str:
    """A moment as both engines store and compare it."""
    # Not by %Y, which is shorter for years of long ago: SQLite compares text.
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds") + ("+00" if is_postgres() else "")


def moment_of(stored: datetime | str | None) -> datetime | None:
    """A moment as it was read: SQLite gives its text."""
    return datetime.fromisoformat(stored).replace(tzinfo=UTC) if isinstance(stored, str) else stored


def run(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of one statement; [] where it gives none."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


def change(sql: str, *parameters: Any) -> int:
    """How many rows one statement changed."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


def truth(row: list[Any]) -> list[Any]:
    """The row with its last value as a bool, which SQLite does not have."""
    return [*row[:-1], bool(row[-1])]


def packed_object(members: dict[str, int]) -> str:
    """JSON text for a column."""
    return _encode(members).decode()


def moment() -> str:
    """The placeholder of a moment (see `stamp`)."""
    return "%s::timestamptz" if is_postgres() else "%s"
