"""Arrows only go down: the floors of 02-architecture, read from the import statements."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: From the top down; a module may import its own floor's package and everything below.
FLOORS = [
    {"config", "messaging.management"},
    {"messaging.consumers", "messaging.api", "messaging.admin", "messaging.demo"},
    {"messaging.publishing", "messaging.registration", "messaging.operations", "messaging.rooms"},
    {"messaging.live", "messaging.webhooks"},
    {"messaging.log"},
    {"messaging.models"},
    {"messaging.protocol", "apps_registry"},
]
#: Django's own doors, on no floor: they may be imported by everybody or by nobody.
OUTSIDE = {"messaging.apps", "messaging.checks", "messaging.migrations", "messaging.failpoints"}


def modules() -> list[str]:
    files = [file for top in ("config", "messaging", "apps_registry") for file in (ROOT / top).rglob("*.py")]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return sorted(name for name in names if not within(name, OUTSIDE) and ".migrations" not in name)


def within(name: str, packages: set[str]) -> str | None:
    return next((one for one in packages if name == one or name.startswith(one + ".")), None)


def floor(name: str) -> int | None:
    return next((number for number, packages in enumerate(FLOORS) if within(name, packages)), None)


def imported(name: str) -> list[str]:
    path = ROOT / name.replace(".", "/")
    file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("name", modules())
def test_a_module_imports_nothing_from_above_and_no_other_edge(name: str) -> None:
    own = floor(name)
    if own is None:
        assert name.split(".")[0] == "messaging"
        assert name in {"messaging", "messaging.__init__"}, f"{name} stands on no floor"
        return
    home = within(name, FLOORS[own])
    for other in imported(name):
        theirs = floor(other)
        if theirs is None:
            continue
        assert theirs >= own, f"{name} imports {other} from a floor above"
        if theirs == own and own in {1, 3, 6}:
            assert within(other, FLOORS[own]) == home, f"{name} imports {other}: edges do not know each other"


def test_apps_registry_knows_nothing_of_messaging() -> None:
    names = [name for name in modules() if name.startswith("apps_registry")]

    assert [other for name in names for other in imported(name) if other.startswith("messaging")] == []


def test_only_wakeups_imports_the_channel_layer() -> None:
    users = [name for name in modules() if any(other.startswith("channels.layers") for other in imported(name))]

    assert users == ["messaging.live.wakeups"]


def test_the_protocol_imports_the_standard_library_and_msgspec_alone() -> None:
    import sys

    allowed = set(sys.stdlib_module_names) | {"msgspec", "messaging"}
    names = [name for name in modules() if name.startswith("messaging.protocol")]

    foreign = {other for name in names for other in imported(name) if other.split(".")[0] not in allowed}
    assert foreign == set()
    inside = {o for n in names for o in imported(n) if o.startswith("messaging") and floor(o) != len(FLOORS) - 1}
    assert inside == set()
