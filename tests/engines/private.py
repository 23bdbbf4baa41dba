"""PostgreSQL and Redis of the tests' own, from Debian's packages, in temporary folders and on free ports.

`python -m tests.engines.private COMMAND …` runs a command with DATABASE_URL and REDIS_URL set to such a pair.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
import redis

from tests.servers import free_port

DEADLINE = 30.0


def missing() -> str:
    """What is not installed, and how to have it; "" when nothing is missing."""
    lacking = [
        package
        for package, found in {"postgresql": _postgres_folder(), "redis-server": shutil.which("redis-server")}.items()
        if not found
    ]
    return f"not installed: apt-get install {' '.join(lacking)}" if lacking else ""


def _postgres_folder() -> Path | None:
    """Debian keeps PostgreSQL's programs by version and out of PATH; the newest."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if here := shutil.which("initdb"):
        folders = folders or [Path(here).resolve().parent]
    return max(folders, key=lambda folder: folder.parent.name.zfill(9), default=None)


def _user() -> str | None:
    """PostgreSQL refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else None


class Postgres:
    """A cluster; durable as the product demands it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="meanwhile-pg-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        programs = _postgres_folder()
        assert programs, missing()
        self._programs = programs
        if user := _user():
            shutil.chown(self.folder, user)
        self._run("initdb", "-D", str(self.data), "-U", "meanwhile", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")

    @property
    def url(self) -> str:
        return f"postgres://meanwhile@127.0.0.1:{self.port}/postgres"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            user=_user(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> Postgres:
        """Starts, also after a crash, and waits until it answers."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "max_connections": 200,
            "shared_buffers": "64MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self.data), *options],
                user=_user(),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _wait(self._answers, lambda: (self.folder / "log").read_text(errors="replace")[-2000:])
        return self

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2000:]
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def run(self, sql: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def copy(self) -> Path:
        """A standby's data, as far as it is now; it will not follow."""
        folder = Path(tempfile.mkdtemp(prefix="copy-", dir=self.folder))
        if user := _user():
            shutil.chown(folder, user)
        self._run(
            "pg_basebackup", "-h", "127.0.0.1", "-p", str(self.port), "-U", "meanwhile", "-D", str(folder), "-c", "fast"
        )
        return folder

    def take_over(self, standby: Path) -> None:
        """The primary dies, the copy is promoted in its place: a new timeline, without what came after the copy."""
        self.stop(signal.SIGQUIT)
        self.data = standby
        (standby / "standby.signal").touch()
        if user := _user():
            shutil.chown(standby / "standby.signal", user)
        self.start()
        self.run("SELECT pg_promote(true, 30)")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast. SIGQUIT: immediate, as a crash."""
        if self.process:
            self.process.send_signal(how)
            self.process.wait(DEADLINE)
            self.process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis:
    """A server that keeps nothing on disk."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="meanwhile-redis-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=2)

    def start(self) -> Redis:
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(self.folder)}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", *arguments], stdout=log, stderr=log, start_new_session=True
            )
        _wait(self._answers, lambda: (self.folder / "log").read_text(errors="replace")[-2000:])
        return self

    def _answers(self) -> bool:
        with suppress(redis.RedisError), closing(self.client()) as client:
            return bool(client.ping())
        return False

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(DEADLINE)
            self.process = None

    def pause(self) -> None:
        """Stands still: connections stay open, nothing is answered."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def deafen(self) -> None:
        """Ends every connection that listens."""
        self.client().execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    def mend(self) -> None:
        """Running again, whatever was done to it."""
        if self.process:
            self.process.send_signal(signal.SIGCONT)
        else:
            self.start()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _wait(ready: Callable[[], bool], told: Callable[[], str]) -> None:
    end = time.monotonic() + DEADLINE
    while not ready():
        assert time.monotonic() < end, told()
        time.sleep(0.02)


@contextmanager
def both() -> Iterator[tuple[Postgres, Redis]]:
    """A PostgreSQL and a Redis, running."""
    with closing(Postgres()) as postgres, closing(Redis()) as channel:
        yield postgres.start(), channel.start()


def main(command: list[str]) -> int:
    if not command:
        print(missing())  # noqa: T201
        return 1 if missing() else 0
    # A shell has its background jobs ignore it, and a child would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with both() as (postgres, channel):
        environment = {**os.environ, "DATABASE_URL": postgres.url, "REDIS_URL": channel.url}
        running = subprocess.Popen(command, env=environment)
        # As by Ctrl-C: then the tests end the servers they have started.
        signal.signal(signal.SIGTERM, lambda *_: running.send_signal(signal.SIGINT))
        return running.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
