"""A server of its own for a benchmark: temporary folder, own port, ended by its id."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

PREPARE = """
import json, sys
from messaging.registration import register
from apps_registry.services import create_app
made = create_app(name="bench", types={"turn": "every", "weather": "latest", "chat": "transient"})
devices = [register(app=made.app, device=f"d{n}", streams=%(streams)r) for n in range(%(devices)d)]
print(json.dumps({"key": made.key, "tokens": [d.token for d in devices]}))
"""


def manage(folder: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "VAR_DIR": folder, "LOG_LEVEL": "ERROR", **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@contextmanager
def process(command: list[str], folder: str, **environment: str) -> Iterator[tuple[int, int]]:
    """Starts a server that prints its address first; → (port, process id)."""
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "VAR_DIR": folder, "LOG_LEVEL": "WARNING", **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout
        line = running.stdout.readline()
        yield int(line.strip().rpartition(":")[2]), running.pid
    finally:
        running.terminate()
        running.wait(20)


@contextmanager
def prepared(*, devices: int, streams: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """An installation with an app and its devices, not running: {key, tokens, folder}."""
    with tempfile.TemporaryDirectory(prefix="meanwhile-bench-") as folder:
        manage(folder, "migrate", "-v0")
        out = manage(folder, "shell", "-v0", "-c", PREPARE % {"devices": devices, "streams": streams})
        yield {**json.loads(out.strip().splitlines()[-1]), "folder": folder}


@contextmanager
def running(place: dict[str, Any], **environment: str) -> Iterator[dict[str, Any]]:
    """The installation running: with {port, pid}."""
    serve = [sys.executable, "manage.py", "serve", "127.0.0.1:0"]
    with process(serve, place["folder"], **environment) as (port, pid):
        place.update(port=port, pid=pid)
        yield place


@contextmanager
def meanwhile(*, devices: int, streams: tuple[str, ...] = (), **environment: str) -> Iterator[dict[str, Any]]:
    """A running server with an app and its devices: {port, pid, key, tokens, folder}."""
    with prepared(devices=devices, streams=streams) as place, running(place, **environment):
        yield place
