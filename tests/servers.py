"""Servers for tests: real processes with a database of their own, ended by their id."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TYPES = ("turn=every", "gift=every", "weather=latest", "chat=transient")


@dataclass
class Server:
    """One installation: folder, environment, and the process while it runs."""

    folder: Path
    kind: str = "uvicorn"
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

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

    def prepare(self) -> str:
        """Migrates and makes an app; → its service key."""
        self.manage("migrate", "-v0")
        types = [part for one in TYPES for part in ("--type", one)]
        made = json.loads(self.manage("create_app", "demo", *types, "--json"))
        key: str = made["key"]
        return key

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
            assert self.process and self.process.poll() is None, self.log()
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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
