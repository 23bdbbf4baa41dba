"""What schemathesis must not do while it plays with the API: take away what its other requests stand on."""

from __future__ import annotations

import json
import os
from typing import Any

import schemathesis

#: Not to be undone: the phone's token is the devices' credential, the lobby and the tablet are named everywhere.
KEPT = {
    # The services' credential.
    "revoke_key": {os.environ["CONTRACT_KEY"].split("_")[1]},
    "revoke_device": {"phone", "tablet"},
    "close_stream": {"room:lobby"},
}


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    operation = case.operation.definition.raw.get("operationId")
    named = set(map(str, (case.path_parameters or {}).values()))
    if named & KEPT.get(operation, set()):
        return False
    # Another user would void its token.
    return not (operation == "register_device" and _member(case.body, "device") == "phone")


@schemathesis.hook
def map_path_parameters(context: schemathesis.HookContext, path_parameters: dict[str, Any]) -> dict[str, Any]:
    """Drawn requests name what there is (the systematic ones do not): a webhook or key for each operation, since some
    take theirs away.
    """
    named: dict[str, dict[str, str]] = json.loads(os.environ["CONTRACT_NAMED"])
    operation = context.operation.definition.raw.get("operationId") if context.operation else None
    if path_parameters and operation in named:
        return {**path_parameters, **{n: v for n, v in named[operation].items() if n in path_parameters}}
    return path_parameters


@schemathesis.hook
def map_query(context: schemathesis.HookContext, query: dict[str, Any]) -> dict[str, Any]:
    """A pull that waits, waits a second at most."""
    wait = query.get("wait") if query else None
    return {**query, "wait": 1} if isinstance(wait, int) and wait > 1 else query


def _member(body: object, name: str) -> object:
    return body.get(name) if isinstance(body, dict) else None
