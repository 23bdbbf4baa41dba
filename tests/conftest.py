"""What all tests share: a world with an app, its services and types, and a node (Journal, hub, reader) of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.db import transaction

from apps_registry.models import App, Delivery, Device, MessageType, Service
from messaging.live import node as live_node
from messaging.log import membership
from messaging.log.append import Publication, Stored, append
from messaging.log.effects import Effects
from messaging.log.reading import Entry
from messaging.protocol.errors import ProtocolError


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
def node(transactional_db: None) -> Iterator[live_node.Node]:
    """A node whose Journal and reader are real threads: needs the transactional database."""
    made = live_node.Node()
    live_node.reset(made)
    yield made
    made.stop()
    live_node.reset(None)
