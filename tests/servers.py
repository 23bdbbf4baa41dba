"""Servers for tests: real processes with a database of their own, ended by their id.

With DATABASE_URL and REDIS_URL set they run on PostgreSQL and Redis, and one installation may have several processes.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from tests.clerk import Clerk

ROOT = Path(__file__).resolve().parent.parent
TYPES = ("turn=every", "gift=every", "weather=latest", "chat=transient")
#: For httpx, which else reads the system's authorities for each client: 20 ms. Over HTTP nothing uses it.
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
#: The engine the suite runs on; "": SQLite.
DATABASE_URL = os.environ.get("DATABASE_URL", "")


def make_database(url: str, model: str = "") -> str:
    """A fresh database on the server of `url`, or a copy of another there; → its URL."""
    name = f"meanwhile_{uuid.uuid4().hex[:12]}"
    template = f' TEMPLATE "{urlsplit(model).path[1:]}"' if model else ""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"{template}')
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
    _clerk: Clerk | None = None

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

    def shell(self, code: str) -> str:
        """What Django code prints in this installation."""
        if self._clerk is None:
            self._clerk = Clerk(ROOT, self.variables())
        return self._clerk.run(code)

    def provide_database(self, model: Server | None = None) -> None:
        """One of its own: empty, or a copy of another installation's that does not run."""
        self.made_at = self.environment.get("DATABASE_URL", DATABASE_URL)
        if self.made_at:
            made = make_database(self.made_at, model.environment["DATABASE_URL"] if model else "")
            self.environment = {**self.environment, "DATABASE_URL": made}
        elif model:
            shutil.copy(model.folder / "meanwhile.sqlite3", self.folder)

    def prepare(self) -> str:
        """Gives it a database with an app; → its service key."""
        key, model = prepared(self.environment.get("DATABASE_URL", DATABASE_URL))
        self.provide_database(model)
        return key

    def beside(self) -> Server:
        """Another process of the same installation, not started yet."""
        return replace(self, port=0, process=None, _clerk=None)

    def dispose(self) -> None:
        """Stops, and drops the database that was made for it."""
        self.stop()
        if self._clerk:
            self._clerk.dismiss()
            self._clerk = None
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

    def _wait_until_it_listens(self, seconds: float = 90) -> None:
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


@functools.cache
def prepared(url: str) -> tuple[str, Server]:
    """The service key of an installation with an app, and the installation: it never runs, others copy its database.

    To migrate a database for each takes seconds.
    """
    folder = Path(tempfile.mkdtemp(prefix="meanwhile-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = Server(folder, environment={"DATABASE_URL": url} if url else {})
    server.provide_database()
    server.manage("migrate", "-v0")
    types = [part for one in TYPES for part in ("--type", one)]
    made = json.loads(server.manage("create_app", "demo", *types, "--json"))
    return made["key"], server


def free_port() -> int:
    """Below those that systems give to outgoing connections: one of them could take it while a server is restarted."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
