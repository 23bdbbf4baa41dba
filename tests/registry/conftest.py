"""Two apps that must not see each other: `game` (with `phone`) and `taxi`."""

from __future__ import annotations

import pytest

from apps_registry.devices import register_device
from apps_registry.models import Device
from apps_registry.services import NewApp, create_app

#: 2026-11-22T10:00:00Z: when these tests happen.
NOW = 1795341600
HOUR = 3600


@pytest.fixture
def game(db: None) -> NewApp:
    return create_app(name="game", types={"turn": "every", "weather": "latest"})


@pytest.fixture
def taxi(db: None) -> NewApp:
    return create_app(name="taxi", types={"turn": "transient"})


@pytest.fixture
def phone(game: NewApp) -> Device:
    return register_device(app=game.app, name="phone-1", user="u1", rooms=["room:lobby"])[0]
