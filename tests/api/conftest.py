"""The API's callers by role. `phone` and `tablet` are Ann's; `stranger` is of another app."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps_registry.models import Device, Service
from messaging.live import node as live_node
from messaging.live.node import Node
from tests.api.callers import Caller, device_caller, service_caller
from tests.conftest import World


@pytest.fixture
def phone_api(phone: Device) -> Caller:
    return device_caller(phone)


@pytest.fixture
def tablet_api(tablet: Device) -> Caller:
    return device_caller(tablet)


@pytest.fixture
def stranger_api(stranger: Device) -> Caller:
    return device_caller(stranger)


@pytest.fixture
def game_api(node: Node, world: World) -> Caller:
    """The game service with every scope, and a node to write for it."""
    return service_caller(world.game)


@pytest.fixture
def weather_api(node: Node, world: World) -> Caller:
    return service_caller(world.weather)


@pytest.fixture
def foreign_api(node: Node, stranger: Device) -> Caller:
    """A service of the stranger's app."""
    return service_caller(Service.objects.create(app=stranger.app, name="game"))


@pytest.fixture
def idle_node(db: None) -> Iterator[Node]:
    """For what only reads: a node whose Journal has nothing to do, so that the test's own transaction will do."""
    made = Node()
    live_node.reset(made)
    yield made
    made.stop()
    live_node.reset(None)
