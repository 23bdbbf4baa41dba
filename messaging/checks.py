"""System checks: what would break a promise is said before anything is served. Listed in docs/reference/settings.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, connections

from messaging.log import durability

#: Shortest secret (characters), and how Django's own placeholder begins.
SECRET, PLACEHOLDER = 32, "django-insecure-"
#: Seconds a client may need to come back by itself: its longest back-off and some rounds.
BACK = 60


@register()
def environment(**_: Any) -> list[CheckMessage]:
    return [
        Error(f"{problem.name}={problem.value!r} makes no sense.", hint=problem.hint, id="meanwhile.E001")
        for problem in settings.ENVIRONMENT_PROBLEMS
    ]


@register()
def secrets(**_: Any) -> Iterator[CheckMessage]:
    if settings.DEBUG:
        return
    key = settings.SECRET_KEY
    if len(key) < SECRET or key.startswith(PLACEHOLDER):
        yield Error(
            f"SECRET_KEY is shorter than {SECRET} characters, or a placeholder.",
            hint="Leave it empty, and one is made and kept in VAR_DIR; or: openssl rand -base64 48",
            id="meanwhile.E002",
        )


@register()
def debug(**_: Any) -> Iterator[CheckMessage]:
    local = {"localhost", "127.0.0.1", "[::1]", "testserver"}
    if settings.DEBUG and not set(settings.ALLOWED_HOSTS) <= local:
        yield Error(
            "DEBUG is on and ALLOWED_HOSTS names more than this machine: error pages show settings to anybody.",
            hint="Unset DEBUG.",
            id="meanwhile.E003",
        )


@register()
def processes(**_: Any) -> Iterator[CheckMessage]:
    alone = settings.CHANNEL_LAYERS["default"]["BACKEND"].endswith("InMemoryChannelLayer")
    several = settings.WEB_CONCURRENCY > 1
    sqlite = connections["default"].vendor == "sqlite"
    if several and alone:
        yield Error(
            f"WEB_CONCURRENCY={settings.WEB_CONCURRENCY}, and wake-ups do not leave their process.",
            hint="Set REDIS_URL. Without it a delivery between processes waits for the repair round.",
            id="meanwhile.E004",
        )
    elif alone and not sqlite:
        yield Warning(
            "PostgreSQL without REDIS_URL: wake-ups do not leave their process.",
            hint="Set REDIS_URL when there is more than one process; one alone needs none.",
            id="meanwhile.W001",
        )
    if sqlite and (several or not alone):
        yield Warning(
            "Several processes on SQLite: it takes one writer at a time, the others wait.",
            hint="Set DATABASE_URL to a PostgreSQL server (docs/how-to/run-on-postgresql-and-redis.md).",
            id="meanwhile.W002",
        )


@register()
def retention(**_: Any) -> Iterator[CheckMessage]:
    resume = settings.MEANWHILE_SILENCE + settings.MEANWHILE_HOLD_TIMEOUT + BACK
    if resume > settings.MEANWHILE_TTL:
        yield Error(
            f"MEANWHILE_TTL={settings.MEANWHILE_TTL}: messages are gone before a lost connection comes back.",
            hint=f"At least {resume:g} s: MEANWHILE_SILENCE, MEANWHILE_HOLD_TIMEOUT and {BACK} s of back-off. A message"
            " or its type may have a shorter ttl of its own.",
            id="meanwhile.E006",
        )


@register()
def limits(**_: Any) -> Iterator[CheckMessage]:
    """Limits that contradict each other."""
    for small, large, why in (
        ("MEANWHILE_PING_INTERVAL", "MEANWHILE_SILENCE", "quiet devices are dropped before they ping"),
        ("MEANWHILE_PAGE", "MEANWHILE_PAGE_MAX", "a page without a limit is above the largest limit"),
        ("MEANWHILE_BACKLOG_SOFT", "MEANWHILE_BACKLOG_HARD", "nobody is shown as falling behind before it is too late"),
        ("MEANWHILE_MAX_DATA", "MEANWHILE_MAX_FRAME", "the largest message fits no frame of the service socket"),
        ("MEANWHILE_WINDOW", "MEANWHILE_RING", "whoever fills its window is served by the database"),
    ):
        low, high = getattr(settings, small), getattr(settings, large)
        if low > high or (low == high and small == "MEANWHILE_PING_INTERVAL"):
            yield Warning(
                f"{small}={low:g} is above {large}={high:g}: {why}.",
                hint=f"Lower {small} or raise {large}.",
                id="meanwhile.W003",
            )


@register(Tags.database)
def durable(databases: Sequence[str] | None = None, **_: Any) -> Iterator[CheckMessage]:
    """Asks the database: `manage.py check --database default`, and `migrate`."""
    if "default" not in (databases or ()):
        return
    try:
        lacking = durability.lacking()
    except DatabaseError:
        return  # not there, or not migrated: others say so
    finally:
        # Inside somebody's transaction the connection is theirs: closing it would end that, too.
        if not connections["default"].in_atomic_block:
            connections["default"].close_if_unusable_or_obsolete()
    if lacking and settings.MEANWHILE_REQUIRE_DURABLE:
        yield Error(
            f"The database does not wait for the disk: {lacking}. A power failure loses what was confirmed.",
            hint="SQLite: PRAGMA synchronous=FULL. PostgreSQL: fsync, full_page_writes and synchronous_commit on."
            " The server reports itself not ready until then.",
            id="meanwhile.E005",
        )
