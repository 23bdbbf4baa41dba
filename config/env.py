"""Reads the environment: typed, with limits. What makes no sense is remembered and refused by a system check.

Every variable read here is listed in docs/reference/settings.md (a test compares).
"""

from __future__ import annotations

import os
from typing import NamedTuple


class Variable(NamedTuple):
    name: str
    default: str
    help: str


class Problem(NamedTuple):
    name: str
    value: str
    hint: str


READ: list[Variable] = []
PROBLEMS: list[Problem] = []


def text(name: str, default: str, help: str) -> str:
    READ.append(Variable(name, default, help))
    return os.environ.get(name, default)


def words(name: str, default: str, help: str) -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text(name, default, help).split(",") if word.strip()]


def flag(name: str, default: bool, help: str) -> bool:
    value = text(name, "1" if default else "0", help).strip().lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off", ""}:
        return False
    PROBLEMS.append(Problem(name, value, "Say 1 or 0."))
    return default


def number(name: str, default: float, help: str, *, least: float, most: float) -> float:
    value = text(name, f"{default:.15g}", help)
    try:
        read = float(value)
    except ValueError:
        read = float("nan")
    if not least <= read <= most:
        PROBLEMS.append(Problem(name, value, f"Say a number from {least:g} to {most:g}."))
        return default
    return read


def integer(name: str, default: int, help: str, *, least: int, most: int) -> int:
    read = number(name, default, help, least=least, most=most)
    if read != int(read):
        PROBLEMS.append(Problem(name, f"{read:g}", "Say a whole number."))
        return default
    return int(read)
