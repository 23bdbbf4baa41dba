"""A process of an installation that runs Django code for a test: a fresh `manage.py shell` for each line costs seconds.

Run as a program: takes lines {"code": …} on its input, answers each with {"said": …} or {"error": …}.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path


class Clerk:
    def __init__(self, root: Path, variables: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.clerk"],
            cwd=root,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str) -> str:
        """What the code prints. Each run has names and database connections of its own."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"code": code}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        said: str = answer["said"]
        return said

    def dismiss(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(20)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django
    from django.db import connections

    django.setup()
    answers = sys.stdout
    for line in sys.stdin:
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                exec(json.loads(line)["code"], {})
            answer = {"said": said.getvalue()}
        except Exception:
            answer = {"error": traceback.format_exc()}
        finally:
            connections.close_all()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
