"""What all tests share: a world with an app, its services and types, and a node (Journal, hub, reader) of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.test import Client

from apps_registry.models import App, Delivery, Device, MessageType, Service
from messaging.live import node as live_node
from messaging.log import lineage, membership
from messaging.log.append import Publication, Stored, append
from messaging.log.effects import Effects
from messaging.log.reading import Entry
from messaging.models import Stream
from messaging.protocol.errors import ProtocolError
from tests import emptying, plans, static_files, wiretap
from tests import zoo as zoos

wiretap.tap()
emptying.install()
plans.install()
static_files.remember()


@pytest.fixture(autouse=True)
def every_frame_is_described() -> Iterator[None]:
    """Whoever speaks over a WebSocket in a test."""
    wiretap.begin()
    yield
    assert wiretap.faults() == []


@pytest.fixture(autouse=True)
def no_statement_takes_as_long_as_all_that_is_stored() -> Iterator[None]:
    """Of messaging/log, as the database plans them, in whatever test they are run."""
    yield
    assert plans.faults() == []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of another engine are of the other pass of tests/run.sh; those that take long, of make faults."""
    absent = {
        "sqlite": connection.vendor != "sqlite",
        "redis": not settings.REDIS_URL,
        "long": "WALKS" not in os.environ,
    }
    left_out = [item for item in items if any(absent.get(mark.name) for mark in item.iter_markers())]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """In CI a test that was skipped is a test that is missing."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped and os.environ.get("CI") == "true":
        terminalreporter.write_line(f"{len(skipped)} skipped: in CI this is a failure.", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped") and os.environ.get("CI") == "true":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@dataclass
class World:
    """An app with a game service and a weather service; devices come by `device`."""

    app: App
    game: Service
    weather: Service

    def device(self, name: str, *, user: str = "", rooms: tuple[str, ...] = (), app: App | None = None) -> Device:
        device = Device.objects.create(app=app or self.app, name=name, user=user, rooms=list(rooms))
        streams = [f"device:{name}", *rooms, *([f"user:{user}"] if user else [])]
        with transaction.atomic():
            membership.subscribe([(device.app_id, device.pk, stream) for stream in streams])
        return device

    def publication(
        self,
        to: str | list[str],
        name: str = "turn",
        payload: str = "1",
        *,
        service: Service | None = None,
        **more: object,
    ) -> Publication:
        by = service or self.game
        targets = [to] if isinstance(to, str) else to
        return Publication(self.app.pk, by.pk, by.name, targets, name, payload, **more)  # type: ignore[arg-type]

    def publish(self, to: str | list[str], name: str = "turn", payload: str = "1", **more: object) -> Stored:
        """Where the first target stored it."""
        return self.publish_all(self.publication(to, name, payload, **more))[0][0]  # type: ignore[arg-type, return-value]

    def publish_all(
        self, *publications: Publication, effects: Effects | None = None
    ) -> list[list[Stored | ProtocolError]]:
        with transaction.atomic():
            return append(publications, effects if effects is not None else Effects())

    def entry(self, device: Device, stream: str | None = None) -> Entry:
        entry = membership.entry_of(device.pk, stream or f"device:{device.name}")
        assert entry
        return entry


@pytest.fixture
def world(db: None) -> World:
    app = App.objects.create(name="demo")
    for name, delivery in {"turn": Delivery.EVERY, "gift": Delivery.EVERY, "weather": Delivery.LATEST}.items():
        MessageType.objects.create(app=app, name=name, delivery=delivery)
    MessageType.objects.create(app=app, name="chat", delivery=Delivery.TRANSIENT)
    game = Service.objects.create(app=app, name="game")
    weather = Service.objects.create(app=app, name="weather")
    return World(app, game, weather)


@pytest.fixture
def phone(world: World) -> Device:
    return world.device("phone", user="ann", rooms=("room:lobby",))


@pytest.fixture
def tablet(world: World) -> Device:
    """Another device of the same user."""
    return world.device("tablet", user="ann", rooms=("room:lobby",))


@pytest.fixture
def stranger(world: World) -> Device:
    """A device of another app with the same names: it must see nothing."""
    other = App.objects.create(name="other")
    MessageType.objects.create(app=other, name="turn", delivery=Delivery.EVERY)
    return world.device("phone", user="ann", rooms=("room:lobby",), app=other)


@pytest.fixture
def zoo(db: None) -> zoos.Zoo:
    """Another app, for the tenant matrices: nothing of it is named anywhere else."""
    return zoos.opened()


@pytest.fixture
def den(zoo: zoos.Zoo) -> Stream:
    """The zoo's room, with a message and its result."""
    return zoos.lived_in(zoo)


@pytest.fixture
def node(transactional_db: None) -> Iterator[live_node.Node]:
    """A node whose Journal and reader are real threads: needs the transactional database.

    The installation has its name, as after the first look at a database: what is counted together bears it.
    """
    lineage.installation()
    made = live_node.Node()
    live_node.reset(made)
    yield made
    made.stop()
    live_node.reset(None)


@pytest.fixture
def operator(db: None) -> Client:
    """Logged into the admin with all rights."""
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


@pytest.fixture
def viewer(db: None) -> Client:
    """May look, and nothing else."""
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(user)
    return client
