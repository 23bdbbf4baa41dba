"""Does the database wait for the disk? A kill cannot reveal that it does not, so the settings are looked at (P1)."""

from __future__ import annotations

from messaging.log import sql

#: PRAGMA synchronous: FULL, EXTRA.
_SQLITE = frozenset({2, 3})


def lacking() -> str:
    """Which setting lets a confirmed message be lost when the power fails; "" if none does. One query."""
    if not sql.is_postgres():
        ((synchronous,),) = sql.run("PRAGMA synchronous")
        return "" if synchronous in _SQLITE else "synchronous is not FULL"
    fsync, pages, commit = sql.run(
        "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')"
    )[0]
    if fsync != "on":
        return "fsync is off"
    if pages != "on":
        return "full_page_writes is off"
    return "synchronous_commit is off" if commit == "off" else ""
