"""The SDK's own tests (tests/js), run by Node's test runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OLDEST = 20


def test_the_sdk_passes_its_tests() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.fail(f"Node.js {OLDEST} or newer is needed for the SDK's tests: https://nodejs.org/en/download")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < OLDEST:
        pytest.fail(f"Node.js {OLDEST} or newer is needed for the SDK's tests, this is {version}.")

    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "js").glob("*.test.mjs"))
    run = subprocess.run([node, "--test", *files], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)

    assert files
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
