"""What would break a promise is said before anything is served, with an id and a hint."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from django.core.checks import CheckMessage, run_checks
from django.db import connection, connections

from config.env import Problem
from tests.engines.conftest import OpenHouse, told
from tests.engines.private import Postgres
from tests.servers import PLAIN, ROOT, Server
from tests.waiting import until

REDIS = {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": []}}}
MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


def found(**options: Any) -> list[CheckMessage]:
    return [message for message in run_checks(**options) if message.id and message.id.startswith("meanwhile.")]


def ids(**options: Any) -> list[str]:
    assert all(message.hint for message in found(**options))
    return sorted({str(message.id) for message in found(**options)})


@pytest.fixture(autouse=True)
def on_sqlite(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Checks that ask no database are the same on every engine the suite runs on."""
    if request.node.get_closest_marker("django_db") is None:
        run_on("sqlite", monkeypatch)


@pytest.fixture(autouse=True)
def one_process(settings: Any) -> Any:
    """As with nothing set."""
    settings.CHANNEL_LAYERS = MEMORY
    return settings


def manage(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    server = Server(folder, environment={"DATABASE_URL": "", "REDIS_URL": "", **environment})
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=server.variables(),
        capture_output=True,
        text=True,
        check=False,
    )


def run_on(vendor: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(connections["default"], "vendor", vendor)


def test_with_nothing_set_there_is_nothing_to_say() -> None:
    assert found() == []


def test_nonsense_in_the_environment(settings: Any) -> None:
    settings.ENVIRONMENT_PROBLEMS = [Problem("MEANWHILE_WINDOW", "abc", "Say a number from 1 to 100000.")]

    (message,) = found()

    assert (message.id, message.is_serious()) == ("meanwhile.E001", True)
    assert message.msg == "MEANWHILE_WINDOW='abc' makes no sense."
    assert message.hint == "Say a number from 1 to 100000."


@pytest.mark.parametrize("url", ["127.0.0.1:6379", "redis://127.0.0.1:s3cret"])
def test_a_redis_url_that_makes_no_sense(url: str, tmp_path: Path) -> None:
    run = manage("check", folder=tmp_path, REDIS_URL=url)

    assert run.returncode != 0
    assert "(meanwhile.E001) REDIS_URL" in run.stderr
    assert "s3cret" not in run.stderr


def test_the_composition_is_none_to_warn_of(tmp_path: Path) -> None:
    said = yaml.safe_load((ROOT / "compose.yaml").read_text())["x-meanwhile"]["environment"]
    environment = {name: re.sub(r"\$\{(\w+):\S([^}]*)\}", r"\2", value) for name, value in said.items()}
    environment |= {"SECRET_KEY": "k" * 20 + "0123456789" * 5, "BEHIND_HTTPS_PROXY": "1"}

    run = manage("check", "--deploy", "--fail-level", "WARNING", folder=tmp_path, **environment)

    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("key", ["short", "django-insecure-" + "x" * 50])
def test_a_short_secret_and_a_placeholder(settings: Any, key: str) -> None:
    settings.SECRET_KEY = key

    assert ids() == ["meanwhile.E002"]


def test_debug_where_others_come(settings: Any) -> None:
    settings.DEBUG = True
    settings.ALLOWED_HOSTS = ["localhost", "meanwhile.example.com"]

    assert ids() == ["meanwhile.E003"]


@pytest.mark.parametrize(
    ("processes", "layer", "database", "expected"),
    [
        (1, MEMORY, "sqlite", []),
        (4, MEMORY, "sqlite", ["meanwhile.E004", "meanwhile.W002"]),
        (4, REDIS, "sqlite", ["meanwhile.W002"]),
        (1, MEMORY, "postgresql", ["meanwhile.W001"]),
        (4, MEMORY, "postgresql", ["meanwhile.E004"]),
        (4, REDIS, "postgresql", []),
    ],
)
def test_processes_that_do_not_reach_each_other(
    settings: Any, monkeypatch: pytest.MonkeyPatch, processes: int, layer: Any, database: str, expected: list[str]
) -> None:
    run_on(database, monkeypatch)
    settings.WEB_CONCURRENCY = processes
    settings.CHANNEL_LAYERS = layer

    assert ids() == expected


def test_messages_that_are_gone_before_a_device_is_back(settings: Any) -> None:
    settings.MEANWHILE_TTL = 149

    assert ids() == ["meanwhile.E006"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MEANWHILE_PING_INTERVAL", 60),
        ("MEANWHILE_PAGE", 3000),
        ("MEANWHILE_BACKLOG_SOFT", 200_000),
        ("MEANWHILE_MAX_DATA", 300_000),
        ("MEANWHILE_WINDOW", 1000),
    ],
)
def test_limits_that_contradict_each_other(settings: Any, name: str, value: int) -> None:
    setattr(settings, name, value)

    assert ids() == ["meanwhile.W003"]


@pytest.mark.django_db
def test_a_durable_database_is_none_to_warn_of() -> None:
    assert "meanwhile.E005" not in ids(databases=["default"])


@pytest.mark.django_db(transaction=True)
def test_a_database_that_does_not_wait_for_the_disk() -> None:
    lax, strict = (
        ("PRAGMA synchronous=NORMAL", "PRAGMA synchronous=FULL")
        if connection.vendor == "sqlite"
        else ("SET synchronous_commit TO off", "SET synchronous_commit TO on")
    )
    with connection.cursor() as cursor:
        cursor.execute(lax)
        try:
            assert "meanwhile.E005" in ids(databases=["default"])
            assert "meanwhile.E005" not in ids()
        finally:
            cursor.execute(strict)


# --- Whole processes -------------------------------------------------------------------------------------------------


def test_a_server_started_on_nonsense_stops_and_says_which(tmp_path: Path) -> None:
    server = Server(tmp_path, environment={"DATABASE_URL": "", "REDIS_URL": "", "MEANWHILE_WINDOW": "abc"})

    for command in (["manage.py", "serve", "127.0.0.1:0"], ["-m", "uvicorn", "--port", "0", "config.asgi:application"]):
        run = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=server.variables(), capture_output=True, text=True, check=False
        )
        assert run.returncode != 0
        assert "MEANWHILE_WINDOW='abc' makes no sense. " in run.stderr.replace("\n\tHINT: ", " ")


def test_a_database_url_that_makes_no_sense_never_becomes_sqlite(tmp_path: Path) -> None:
    run = manage("migrate", folder=tmp_path, DATABASE_URL="mysql://root:s3cret@127.0.0.1/x")

    assert run.returncode != 0
    assert "DATABASE_URL makes no sense" in run.stderr
    assert "s3cret" not in run.stderr
    assert not (tmp_path / "meanwhile.sqlite3").exists()


def test_readiness_names_the_setting_that_is_not_durable(postgres: Postgres, open_house: OpenHouse) -> None:
    house = open_house(processes=1)
    postgres.run("ALTER SYSTEM SET synchronous_commit TO off")
    postgres.run("SELECT pg_reload_conf()")
    try:
        until(lambda: told(house.servers[0])[1]["durability"] == "synchronous_commit is off", "it is noticed")
        assert told(house.servers[0])[0] == 503
    finally:
        postgres.run("ALTER SYSTEM RESET synchronous_commit")
        postgres.run("SELECT pg_reload_conf()")
    until(lambda: told(house.servers[0])[0] == 200, "ready again by itself")


def test_readiness_notices_another_process_on_the_same_file(tmp_path: Path) -> None:
    first = Server(tmp_path, environment={"DATABASE_URL": "", "REDIS_URL": ""})
    first.prepare()
    first.start()
    second = first.beside().start()
    try:
        until(lambda: told(first)[1]["wakeups"].startswith("another process"), "the first notices the second")
        answer = httpx.get(f"{first.base}/readyz", verify=PLAIN)
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    finally:
        first.stop()
        second.stop()
