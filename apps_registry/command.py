"""What commands that work on the database share."""

from __future__ import annotations

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor


def waiting_migrations() -> int:
    """How many migrations of this version the database has not had. Raises DatabaseError."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


class DatabaseCommand(BaseCommand):
    """Ends with a sentence where the database is not migrated, not with a traceback about a table.

    Not where the database does not answer: a server starts all the same, says so in /readyz, and is there when it
    comes back.
    """

    requires_migrations_checks = True

    def check_migrations(self) -> None:
        try:
            waiting = waiting_migrations()
        except DatabaseError:
            return
        finally:
            # A server counts its connections; inside somebody's transaction it is theirs.
            if not connection.in_atomic_block:
                connection.close()
        if waiting:
            raise CommandError(f"{waiting} migrations wait for this database. First: manage.py migrate")
