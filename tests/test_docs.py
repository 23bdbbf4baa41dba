"""What the documents name is there: places in the code, tests, error codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("docs/explanation/claims.md", "docs/explanation/guarantees.md")

_TEST = re.compile(r"`(tests/[\w/.]+)::([^`]+)`")
_PLACE = re.compile(r"`((?:messaging|apps_registry|config)/[\w/.-]+\.(?:py|js)):(\w+)`")


def named(pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    texts = [(ROOT / page).read_text() for page in PAGES if (ROOT / page).exists()]
    return sorted({found for text in texts for found in pattern.findall(text)})


@pytest.mark.parametrize(("file", "name"), named(_TEST))
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    text = (ROOT / file).read_text()

    assert re.search(rf'(def {re.escape(name)}\(|test\("{re.escape(name)}")', text), f"{file} has no {name}"


@pytest.mark.parametrize(("file", "name"), named(_PLACE))
def test_a_place_that_is_named_exists(file: str, name: str) -> None:
    text = (ROOT / file).read_text()

    defined = rf"^\s*(?:export )?(?:async )?(?:def|class|function|const) {name}\b|^{name} = |^  #?{name}\("
    assert re.search(defined, text, re.MULTILINE), f"{file} has no {name}"


def test_every_claim_and_step_has_its_row() -> None:
    text = (ROOT / "docs/explanation/claims.md").read_text()

    rows = re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)
    assert [row for row in rows if row.isdigit()] == [str(number) for number in range(1, 14)]
    steps = {row.split(",")[0] for row in rows if row.startswith("S")}
    assert steps == {f"S{n}" for n in (101, 102, 103, 104, 201, 202, 203, 204, 205, 301, 302)}
