"""docs/reference/http-api.md: every endpoint is there, and every example runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from messaging.live.node import Node
from tests.api.test_tenants import CASES
from tests.servers import PLAIN, Server

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs/reference/http-api.md").read_text()


def headings() -> set[str]:
    return set(re.findall(r"^### (\w+ /\S+)$", PAGE, re.MULTILINE))


def examples() -> Iterator[tuple[str, str]]:
    """(heading, commands) in the order of the page, but for revoking: that comes last."""
    heading = ""
    found = []
    for match in re.finditer(r"^#{1,3} ([^\n]+)$|^```sh\n(.+?)\n```$", PAGE, re.MULTILINE | re.DOTALL):
        if match[1]:
            heading = match[1]
        else:
            found.append((heading, match[2]))
    return iter(sorted(found, key=lambda one: one[0].endswith("/revoke")))


def test_every_endpoint_has_its_place_on_the_page() -> None:
    templates = {route: re.sub(r"<[a-z]+:([a-z]+)>", r"{\1}", route) for route in CASES}
    built = {f"{case.method} /{templates[route]}" for route, cases in CASES.items() for case in cases}

    assert headings() == built
    assert {heading for heading, _ in examples()} >= built


def test_the_table_says_of_every_endpoint_what_its_description_says() -> None:
    """So Swagger UI and the page have the same words, in the same two parts."""
    table = dict(re.findall(r"^\| \[`(\w+ /\S+)`\]\(\S+\) \| (.+?) \|", PAGE, re.MULTILINE))
    parts = {
        name: part for part in PAGE.split("\n# ")[1:] for name in re.findall(r"^### (\w+ /\S+)$", part, re.MULTILINE)
    }

    operations = {
        f"{method.upper()} {path.removeprefix('/api/v1')}": operation
        for path, methods in SchemaGenerator().get_schema(request=None, public=True)["paths"].items()
        for method, operation in methods.items()
    }

    assert table == {name: one["summary"][:1].lower() + one["summary"][1:] for name, one in operations.items()}
    assert {name: [part.splitlines()[0]] for name, part in parts.items()} == {
        name: one["tags"] for name, one in operations.items()
    }


def test_every_metric_is_on_the_page_and_no_other(idle_node: Node) -> None:
    rows = re.findall(r"^\| (`meanwhile_[^|]+) \| .+ \|$", PAGE, re.MULTILINE)
    told = sorted(re.findall(r"`(meanwhile_\w+)(?:\{(\w+)\})?`", "".join(rows)))

    text = Client().get("/metrics").content.decode()

    assert told == sorted(set(re.findall(r'^(meanwhile_\w+)(?:\{(\w+)="\w+"\})? ', text, re.MULTILINE)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A running one, as the environment of the examples."""
    running = Server(tmp_path_factory.mktemp("docs"), environment={"LOG_LEVEL": "ERROR"})
    key = running.prepare()
    running.start()
    device = {"device": "phone-1", "user": "u1", "streams": ["room:lobby"]}
    answer = httpx.post(
        f"{running.base}/api/v1/devices", verify=PLAIN, json=device, headers={"Authorization": f"Bearer {key}"}
    )
    yield {"BASE": running.base, "KEY": key, "TOKEN": answer.json()["token"]}
    running.stop()


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_every_example_runs(server: dict[str, str]) -> None:
    for heading, commands in examples():
        done = subprocess.run(
            ["bash", "-ec", commands], env={**os.environ, **server}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{heading}: {commands}\n{done.stdout}{done.stderr}"
        said: Any = json.loads(done.stdout) if done.stdout.startswith("{") and "\n" not in done.stdout else {}
        if heading == "POST /messages":
            assert said == {
                "items": [{"stream": "device:phone-1", "offset": 1}, {"stream": "room:lobby", "version": 1}]
            }
        if heading == "POST /results":
            assert said == {"stream": "device:phone-1", "processed": 1}
