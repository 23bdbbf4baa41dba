"""docs/reference/settings.md lists what the code reads and checks, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from config import env, settings  # noqa: F401 - fills env.READ

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/reference/settings.md").read_text()


def row(variable: env.Variable) -> str:
    default = f"`{variable.default}`" if variable.default else ""
    return f"| `{variable.name}` | {default} | {variable.help} |"


def test_every_variable_has_its_line() -> None:
    missing = [row(variable) for variable in env.READ if row(variable) not in PAGE.splitlines()]

    assert missing == [], "put these into docs/reference/settings.md:\n" + "\n".join(missing)


def test_every_line_is_of_a_variable_that_is_read() -> None:
    told = set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE))

    assert told == {variable.name for variable in env.READ}
    assert len(env.READ) == len(told), "a variable is read twice"


def test_every_check_has_its_line() -> None:
    checked = re.findall(r'id="(meanwhile\.[EW]\d{3})"', (ROOT / "messaging/checks.py").read_text())
    told = re.findall(r"^\| `(meanwhile\.[EW]\d{3})`", PAGE, re.MULTILINE)

    assert sorted(checked) == sorted(told) == sorted(set(told))
