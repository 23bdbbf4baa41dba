from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_pages_own_logic_holds_in_javascript() -> None:
    ran = subprocess.run(
        ["node", "--test", str(Path(__file__).with_name("page.test.mjs"))], capture_output=True, text=True, timeout=60
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
