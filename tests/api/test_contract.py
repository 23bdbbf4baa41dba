"""The HTTP API against its own description: schemathesis makes requests from /api/schema, valid and invalid ones,
singly and in sequences, and a running server must answer each as described: never with a 5xx, never with a status, a
content type or a member that the description does not name.

CONTRACT_EXAMPLES: drawn requests per operation (default 10), beside the systematic ones. CONTRACT_SEED: other draws.
How it is driven: schemathesis.toml, contract_hooks.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.servers import PLAIN, ROOT, Server

SEED = os.environ.get("CONTRACT_SEED", "1")
EXAMPLES = os.environ.get("CONTRACT_EXAMPLES", "10")


#: What says that an operation was tried in earnest.
GOOD = {200, 201, 204}
#: The operations that name a webhook.
OF_WEBHOOKS = (
    "webhook",
    "change_webhook",
    "delete_webhook",
    "rotate_webhook_secret",
    "test_webhook",
    "webhook_deliveries",
    "retry_webhook_delivery",
)


def webhook(http: httpx.Client) -> dict[str, str]:
    """A new one with a delivery, by the names that paths have for them."""
    made = http.post("/webhooks", json={"url": "http://127.0.0.1:9/", "events": ["gaps"]}).json()["id"]
    return {"webhook": made, "delivery": http.post(f"/webhooks/{made}/test").json()["id"]}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A running one, as the environment of schemathesis.toml; what its dictionaries name is there."""
    server = Server(tmp_path_factory.mktemp("contract"), environment={"LOG_LEVEL": "WARNING"})
    key = server.prepare()
    server.start()
    with httpx.Client(
        verify=PLAIN, base_url=f"{server.base}/api/v1", headers={"Authorization": f"Bearer {key}"}
    ) as http:
        for device in ("tablet", "watch", "phone"):
            made = http.post("/devices", json={"device": device, "user": "ann", "streams": ["room:lobby"]})
        everywhere = ["room:lobby", "device:phone", "device:tablet", "user:ann"]
        turns = [{"to": everywhere, "name": "turn", "data": {"n": n}} for n in range(3)]
        weather = {"to": everywhere, "name": "weather", "key": "berlin", "data": 21}
        assert http.post("/messages", json={"messages": [*turns, weather]}).is_success
        http.post("/services", json={"service": "weather"})
        key_of_weather = {"service": "weather", "scopes": ["read"]}
        spare, old = (http.post("/keys", json=key_of_weather).json()["prefix"] for _ in range(2))
        named = {operation: webhook(http) for operation in OF_WEBHOOKS}
        named |= {"rotate_key": {"prefix": spare}, "revoke_key": {"prefix": old}}
    yield {
        "CONTRACT_NAMED": json.dumps(named),
        "CONTRACT_BASE": server.base,
        "CONTRACT_KEY": key,
        "CONTRACT_TOKEN": made.json()["token"],
    }
    server.dispose()


def sealed(document: dict[str, Any]) -> dict[str, Any]:
    """The description, in which an answer may not have members that it does not name. Problems may (RFC 9457)."""
    for name, schema in document["components"]["schemas"].items():
        if "properties" in schema and not name.endswith("Request") and name != "Problem":
            schema["additionalProperties"] = False
    return document


def operations(document: dict[str, Any]) -> dict[str, re.Pattern[str]]:
    """What the path of a request to each looks like: {"GET /api/v1/types/{name}": pattern}."""
    return {
        f"{method.upper()} {path}": re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) + r"\Z")
        for path, methods in document["paths"].items()
        for method in methods
    }


def answered(har: Path, patterns: dict[str, re.Pattern[str]]) -> dict[str, set[int]]:
    """By operation: the statuses that were seen."""
    seen: dict[str, set[int]] = {label: set() for label in patterns}
    for entry in json.loads(har.read_text())["log"]["entries"]:
        path = urlsplit(entry["request"]["url"]).path
        for label, pattern in patterns.items():
            if label.startswith(entry["request"]["method"] + " ") and pattern.match(path):
                seen[label].add(entry["response"]["status"])
    return seen


@pytest.mark.timeout(600)
def test_every_answer_is_as_described(installation: dict[str, str], tmp_path: Path) -> None:
    document = httpx.get(f"{installation['CONTRACT_BASE']}/api/schema", verify=PLAIN, params={"format": "json"}).json()
    described, har = tmp_path / "openapi.json", tmp_path / "requests.har"
    described.write_text(json.dumps(sealed(document)))

    def play(seed: str, examples: str, *options: str) -> dict[str, set[int]]:
        """By operation: the statuses that were seen; each as it is described."""
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "tests/api/schemathesis.toml"]
        options = (
            "--seed",
            seed,
            "--max-examples",
            examples,
            "--report",
            "har",
            "--report-har-path",
            str(har),
            *options,
        )
        done = subprocess.run(
            [*command, "run", str(described), *options],
            cwd=ROOT,
            env={**os.environ, **installation},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"CONTRACT_SEED={seed} CONTRACT_EXAMPLES={examples}\n{done.stdout}{done.stderr}"
        return answered(har, operations(document))

    seen = play(SEED, EXAMPLES)
    if missing := [label for label, statuses in seen.items() if not statuses & GOOD]:
        # What is drawn depends on what was answered before. Those that never succeeded are drawn more often.
        names = [option for label in missing for option in ("--include-name", label)]
        seen |= {label: seen[label] | found for label, found in play(SEED + "1", "100", *names).items()}
    assert [label for label, statuses in seen.items() if not statuses & GOOD] == []
