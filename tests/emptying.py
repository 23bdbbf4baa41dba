"""Empties the database after a test that committed: only the tables that have rows, and never what migrating wrote.

Django's own way, `flush`, truncates every table (on PostgreSQL a new file for each table and index), then makes all
content types and permissions again. That took longer than most of the tests.
"""

from __future__ import annotations

import functools

from django.db import DEFAULT_DB_ALIAS, connection, transaction
from django.test import TransactionTestCase

#: The same after every migration, and what it wrote itself.
KEPT = {"django_content_type", "auth_permission"}


def install() -> None:
    """From now on tests with `transactional_db` leave the database this way."""
    TransactionTestCase._fixture_teardown = _teardown  # type: ignore[method-assign]


def _teardown(case: TransactionTestCase) -> None:
    assert case._databases_names(include_mirrors=False) == [DEFAULT_DB_ALIAS]
    empty()


def empty() -> None:
    # Foreign keys are looked at when it commits: in what order rows go does not matter.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_which_have_rows())
        for (table,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


@functools.cache
def _which_have_rows() -> str:
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - KEPT
    quoted = {table: connection.ops.quote_name(table) for table in sorted(tables)}
    return " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {quoted[table]})" for table in quoted)
