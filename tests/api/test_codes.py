"""The registry of error codes is one: in Python, in JavaScript, in the docs."""

from __future__ import annotations

import re
from pathlib import Path

from apps_registry import errors
from messaging.protocol.codes import CODES

ROOT = Path(__file__).resolve().parent.parent.parent
JAVASCRIPT = ROOT / "messaging/static/messaging/client/codes.js"
DOCS = ROOT / "docs/reference/errors.md"

ROW = re.compile(r"^\| `(\w+)` \| (\d+) \| (\d*) ?\| (yes)? ?\| (.+) \|$", re.MULTILINE)
MEMBER = re.compile(
    r'^\s+(\w+): \{ title: "(.+)", temporary: (true|false), status: (\d+), close: (\d+|null) \},$', re.MULTILINE
)


def test_the_client_knows_the_same_codes() -> None:
    found = {
        name: (title, int(status), None if close == "null" else int(close), temporary == "true")
        for name, title, temporary, status, close in MEMBER.findall(JAVASCRIPT.read_text())
    }

    assert found == {name: (code.title, code.status, code.close, code.temporary) for name, code in CODES.items()}


def test_the_docs_tell_of_every_code_and_what_to_do() -> None:
    found = {
        name: (int(status), int(close) if close else None, bool(temporary))
        for name, status, close, temporary, _ in ROW.findall(DOCS.read_text())
    }

    assert found == {name: (code.status, code.close, code.temporary) for name, code in CODES.items()}


def test_the_registrys_refusals_are_codes_too() -> None:
    kinds = errors.RegistryError.__subclasses__()

    assert kinds
    assert {kind.code for kind in kinds} <= CODES.keys()


def test_final_closes_are_not_temporary() -> None:
    for code in CODES.values():
        if code.close:
            assert code.temporary == (code.close < 4500), code.name
