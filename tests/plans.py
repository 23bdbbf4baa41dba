"""Looks over the database's shoulder: how it means to go about each statement of messaging/log that any test runs.
`tests/conftest.py` fails the test in which one would take as long as everything that is stored.

SQLite: without ANALYZE, which nobody runs, a plan follows from the statement and the indexes alone; that the tests'
tables are nearly empty makes no difference. PostgreSQL plans by what is stored, which is next to nothing here: it is
asked what it would do if it could help it. LIMIT: so there only a statement that no index can serve is found.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

#: They grow with messages or devices: no statement may go through one of them as a whole.
LARGE = {
    "messaging_latestreceipt",
    "messaging_message",
    "messaging_presence",
    "messaging_result",
    "messaging_subscription",
}
_TESTS = str(Path(__file__).resolve().parent)
_MESSAGING = str(Path(_TESTS).parent / "messaging")
_LOG = f"{_MESSAGING}/log/"

_faults: list[str] = []
_seen: set[str] = set()


class Step(NamedTuple):
    """A row of SQLite's EXPLAIN QUERY PLAN. Steps of one parent are loops, each inside the one before."""

    id: int
    parent: int
    unused: int
    detail: str


def install() -> None:
    """Once, before the first test."""
    connection_created.connect(_listen)


def faults() -> list[str]:
    """What was found since this was last asked."""
    found = list(_faults)
    _faults.clear()
    return found


def seen() -> set[str]:
    """The statements that were looked at."""
    return set(_seen)


def explained(statement: str, parameters: Sequence[Any]) -> list[str]:
    """What there is against a statement, on this thread's connection."""
    judge = _on_sqlite if connection.vendor == "sqlite" else _on_postgres
    # Past whoever counts or wraps what is executed.
    with closing(connection.create_cursor()) as cursor:
        return [f"{fault}\n{statement}" for fault in judge(cursor, statement, parameters)]


def _on_postgres(cursor: Any, statement: str, parameters: Sequence[Any]) -> list[str]:
    cursor.execute("SET enable_seqscan = off")
    cursor.execute(f"EXPLAIN {statement}", parameters)
    lines = [line.strip(" ->") for (line,) in cursor.fetchall()]
    cursor.execute("SET enable_seqscan = on")
    through = [line for line in lines if (words := line.split())[:3] == ["Seq", "Scan", "on"] and words[3] in LARGE]
    return [f"goes through the whole of {line.split()[3]}: {line}" for line in through]


def _on_sqlite(cursor: Any, statement: str, parameters: Sequence[Any]) -> list[str]:
    cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
    return judged(statement, [Step(*row) for row in cursor.fetchall()])


def judged(statement: str, plan: list[Step]) -> list[str]:
    """What there is against a plan of SQLite."""
    tables = _tables(statement)
    repeated = {step.id for step in plan if step.detail.startswith("CORRELATED")}
    looping: set[int] = set()
    found = []
    for step in plan:
        how, _, what = step.detail.partition(" ")
        if how not in ("SCAN", "SEARCH"):
            continue
        name = what.split()[0]
        large = tables[name] & LARGE
        if how == "SCAN" and (step.parent in looping or step.parent in repeated):
            found.append(f"goes through all of {name} again and again: {step.detail}")
        elif large and (how == "SCAN" or "AUTOMATIC" in what):
            found.append(f"goes through the whole of {', '.join(large)}: {step.detail}")
        looping.add(step.parent)
    return found


def _tables(statement: str) -> dict[str, set[str]]:
    """What a name in the plan may stand for."""
    tables: dict[str, set[str]] = defaultdict(set)
    for table, alias in re.findall(r'"?(messaging_\w+)"?(?: (?:AS )?"?(\w+)"?)?', statement):
        tables[table].add(table)
        tables[alias].add(table)
    return tables


def _listen(connection: BaseDatabaseWrapper, **signal: Any) -> None:
    if _look not in connection.execute_wrappers:
        # The outermost: whoever wraps for a while takes the last away again.
        connection.execute_wrappers.insert(0, _look)


def _look(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    if sql not in _seen and not many and sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")) and _of_the_log():
        try:
            _faults.extend(explained(sql, params))
            _seen.add(sql)
        except context["connection"].Database.Error:
            pass  # The statement itself will say it, or be looked at the next time.
    return execute(sql, params, many, context)


def _of_the_log() -> bool:
    """Whether it was messaging/log that wanted the statement, not a test or somebody else by `sql.run`."""
    frame = sys._getframe(1)
    while frame := frame.f_back:  # type: ignore[assignment]
        file = frame.f_code.co_filename
        if file.startswith((_MESSAGING, _TESTS)) and file != f"{_LOG}sql.py":
            return file.startswith(_LOG)
    return False
