"""Servers for tests: real processes with a database of their own, ended by their id.

With DATABASE_URL and REDIS_URL set they run on PostgreSQL and Redis, and one installation may have several processes.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

ROOT = Path(__file__).resolve().parent.parent
TYPES = ("turn=every", "gift=every", "weather=latest", "chat=transient")
#: The engine the suite runs on; "": SQLite.
DATABASE_URL = os.environ.get("DATABASE_URL", "")


def make_database(url: str) -> str:
    """A fresh database on the server of `url`; → its URL."""
    name = f"meanwhile_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def drop_database(url: str, made: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{urlsplit(made).path[1:]}" WITH (FORCE)')


@dataclass
class Server:
    """One process of an installation: folder, environment, and the process while it runs.

    On PostgreSQL `provide_database` makes it one of its own, on the server of DATABASE_URL: its environment's or ours.
    """

    folder: Path
    kind: str = "uvicorn"
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    #: Whose server the database was made on.
    made_at: str = ""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def variables(self) -> dict[str, str]:
        return {**os.environ, "VAR_DIR": str(self.folder), "PYTHONUNBUFFERED": "1", **self.environment}

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.variables(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def provide_database(self) -> None:
        """An empty one of its own."""
        self.made_at = self.environment.get("DATABASE_URL", DATABASE_URL)
        if self.made_at:
            self.environment = {**self.environment, "DATABASE_URL": make_database(self.made_at)}

    def prepare(self) -> str:
        """Migrates and makes an app; → its service key."""
        self.provide_database()
        self.manage("migrate", "-v0")
        types = [part for one in TYPES for part in ("--type", one)]
        made = json.loads(self.manage("create_app", "demo", *types, "--json"))
        key: str = made["key"]
        return key

    def beside(self) -> Server:
        """Another process of the same installation, not started yet."""
        return replace(self, port=0, process=None)

    def dispose(self) -> None:
        """Stops, and drops the database that was made for it."""
        self.stop()
        if self.made_at:
            drop_database(self.made_at, self.environment["DATABASE_URL"])

    def start(self) -> Server:
        self.port = self.port or free_port()
        commands = {
            "uvicorn": ["manage.py", "serve", f"127.0.0.1:{self.port}"],
            "daphne": ["-m", "daphne", "-b", "127.0.0.1", "-p", str(self.port), "config.asgi:application"],
        }
        log = (self.folder / f"{self.kind}.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, *commands[self.kind]], cwd=ROOT, env=self.variables(), stdout=log, stderr=log
        )
        self._wait_until_it_listens()
        return self

    def _wait_until_it_listens(self, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process
            assert self.process.poll() is None, self.log()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"the server did not listen: {self.log()}")

    def log(self) -> str:
        return (self.folder / f"{self.kind}.log").read_text(errors="replace")[-4000:]

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(20)
            self.process = None


def free_port() -> int:
    """Below those that systems give to outgoing connections: one of them could take it while a server is restarted."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
