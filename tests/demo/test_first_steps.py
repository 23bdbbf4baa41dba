"""README.md and the tutorial, as somebody types them: every command runs, every answer is as printed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import ROOT, Server

README = (ROOT / "README.md").read_text()
TUTORIAL = (ROOT / "docs/tutorial/first-app.md").read_text()
ON_CALL = (ROOT / "docs/how-to/be-on-call.md").read_text()

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("first-steps"), environment={"LOG_LEVEL": "ERROR"})
    running.prepare()
    yield running.start()
    running.dispose()


def curls(page: str) -> list[str]:
    """Its commands, with their continued lines."""
    return re.findall(r"^    (curl (?:.*\\\n)*.*)$", page, re.MULTILINE)


def key_of(server: Server, page: str) -> str:
    """The key of the app that the page tells to make."""
    (arguments,) = re.findall(r"manage\.py (create_app [^\n`]+ --json)", page)
    return str(json.loads(server.manage(*arguments.split()))["key"])


def typed(server: Server, command: str, key: str) -> str:
    there = re.sub(r"(http://)?(127\.0\.0\.1|localhost):8000", server.base, command)
    done = subprocess.run(
        ["bash", "-ec", there], env={**os.environ, "KEY": key}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_publishes_and_asks_for_the_results(server: Server) -> None:
    key = key_of(server, README)
    publish, results = curls(README)

    assert f"\n    {typed(server, publish, key)}\n" in README
    assert json.loads(typed(server, results, key)) == {"items": [], "next": 0}


def test_the_tutorial_registers_publishes_and_asks(server: Server) -> None:
    key = key_of(server, TUTORIAL)
    register, publish, results = curls(TUTORIAL)

    assert json.loads(typed(server, register, key))["streams"] == ["device:browser-1", "room:kitchen", "user:ann"]
    assert json.loads(typed(server, publish, key)) == {"items": [{"stream": "room:kitchen", "offset": 1}]}
    assert "items" in json.loads(typed(server, results, key))


def test_every_number_on_call_watches_is_there(server: Server) -> None:
    told = set(re.findall(r"`(meanwhile_\w+)`", ON_CALL))

    printed = set(re.findall(r"^(meanwhile_\w+)", typed(server, f"curl -s {server.base}/metrics", ""), re.MULTILINE))

    assert told
    assert told <= printed


def test_without_its_virtual_environment_manage_py_says_which_python_to_take() -> None:
    bare = subprocess.run([sys.executable, "-S", "manage.py"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert bare.returncode == 1
    assert bare.stderr == "This Python has no Django. Say .venv/bin/python manage.py …, which `make run` has made.\n"


@pytest.mark.parametrize(
    "command",
    ["create_app x", "clean", "rotate_epoch --yes", "demo-traffic", "deliver_webhooks --once", "serve 127.0.0.1:0"],
)
def test_who_forgot_to_migrate_is_told_so(tmp_path: Path, command: str) -> None:
    environment = {**os.environ, "VAR_DIR": str(tmp_path), "DATABASE_URL": "", "REDIS_URL": ""}
    asked = [sys.executable, "manage.py", *command.split()]

    done = subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert re.fullmatch(r"CommandError: \d+ migrations wait for this database. First: manage.py migrate\n", done.stderr)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda page: page.name
)
def test_every_link_between_the_documents_leads_to_a_page_and_a_heading(page: Path) -> None:
    text = page.read_text()

    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
            assert anchor in slugs, target
