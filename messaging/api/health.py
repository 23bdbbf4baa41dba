"""Is the process alive, and can it keep its promises? For supervisors and load balancers."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse

from apps_registry.command import waiting_migrations
from messaging.api.edge import answer
from messaging.api.problems import only_looked_at
from messaging.live import node
from messaging.log import durability, sql
from messaging.log.presence import Lease
from messaging.protocol.errors import ProtocolError

#: Seconds the writer has to answer.
PATIENCE = 3

_migrated = False


@only_looked_at
def healthz(request: HttpRequest) -> HttpResponse:
    """The process lives. Asks nothing else: a restart would not mend a database."""
    return answer({"status": "ok"})


@only_looked_at
def readyz(request: HttpRequest) -> HttpResponse:
    """200 if this process can take publishes, else 503. `degraded`: it can, but its wake-ups reach no other process."""
    checks = {"database": _database(), "journal": _journal(), "durability": _durability(), "draining": _draining()}
    ready = all(said == "ok" for said in checks.values())
    wakeups = _wakeups()
    status = "not ready" if not ready else "ok" if wakeups == "ok" else "degraded"
    return answer({"status": status, "checks": {**checks, "wakeups": wakeups}}, status=200 if ready else 503)


def _said(check: Callable[[], str]) -> Callable[[], str]:
    """A check that fails says so, without what the database had to say."""

    def run() -> str:
        try:
            return check()
        except ProtocolError as error:
            return error.code.name
        except (DatabaseError, InterfaceError) as error:
            return type(error).__name__

    return run


@_said
def _database() -> str:
    sql.run("SELECT 1")
    return "not migrated: manage.py migrate" if _migrations_wait() else "ok"


def _migrations_wait() -> bool:
    """Asked until it was answered with no, once: a running server's own migrations do not grow."""
    global _migrated
    _migrated = _migrated or not waiting_migrations()
    return not _migrated


@_said
def _journal() -> str:
    """The writer commits: a lease of nobody goes the whole way and changes no row."""
    node.current().journal.call(Lease(0, 0), timeout=PATIENCE)
    return "ok"


@_said
def _durability() -> str:
    return (settings.MEANWHILE_REQUIRE_DURABLE and durability.lacking()) or "ok"


def _wakeups() -> str:
    """Whether other processes are reached; without, they deliver what is published here a repair interval later."""
    here = node.current()
    if here.neighbours:
        return "another process on this database, and no REDIS_URL"
    return "ok" if here.wakeups.working else "degraded"


def _draining() -> str:
    return "restart" if node.current().draining else "ok"
