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


def claims() -> tuple[str, str]:
    """The page's two parts: away and back, live rooms."""
    _, first, second = re.split(r"^# CN\w+, ", (ROOT / "docs/explanation/claims.md").read_text(), flags=re.MULTILINE)
    return first, second


def test_every_claim_and_step_has_its_row() -> None:
    text, _ = claims()

    rows = re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)
    assert [row for row in rows if row.isdigit()] == [str(number) for number in range(1, 14)]
    steps = {row.split(",")[0] for row in rows if row.startswith("S")}
    assert steps == {f"S{n}" for n in (101, 102, 103, 104, 201, 202, 203, 204, 205, 301, 302)}


def test_everything_the_live_rooms_do_has_its_row_with_a_place_and_a_test() -> None:
    _, text = claims()

    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert {row.split("|")[1].strip() for row in rows} == {
        *(f"client's method: {step}" for step in ("watch", "find it dead", "re-establish", "state positions")),
        *(f"client's method: {step}" for step in ("get the missed", "go on live", "without WebSockets")),
        *(f"server's method: {step}" for step in ("keep", "notice who is gone", "answer the positions")),
        *(f"server's method: {step}" for step in ("end the room", "in a flood")),
        "client as a device",
        "server as a device",
        "program on a medium",
    }
    for row in rows:
        assert _PLACE.search(row), row
        assert _TEST.search(row), row
