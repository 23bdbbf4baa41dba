from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import meanwhile_client
import pytest

from tests.consumers.actors import DEADLINE, Phone, Service, Witness
from tests.servers import DATABASE_URL, PLAIN, Server

#: Short where a test waits for the end of something, but long enough for a busy machine to do what comes before.
ENVIRONMENT = {
    "MEANWHILE_HELLO_TIMEOUT": "3",
    "MEANWHILE_HOLD_TIMEOUT": "3",
    "MEANWHILE_REPAIR_INTERVAL": "0.2",
    "MEANWHILE_LEAVE_DELAY": "2",
    "MEANWHILE_POLLS": "8",
    "LOG_LEVEL": "WARNING",
}
_numbers = itertools.count(1)


@dataclass
class House:
    """An installation. On PostgreSQL it has two processes: a phone connects to one after the other and pulls from the
    second, services publish at the second.
    """

    servers: list[Server]
    key: str
    witness: Witness = field(init=False)

    def __post_init__(self) -> None:
        self.witness = Witness([server.base for server in self.servers], self.key)

    @property
    def base(self) -> str:
        return self.servers[0].base

    def key_of(self, *scopes: str) -> str:
        """A new key of the demo's service."""
        return self._shell(
            "from apps_registry import models, services;"
            f"print(services.create_key(service=models.Service.objects.get(app__name='demo'), scopes={scopes!r})[1])"
        )

    def revoke(self, key: str) -> None:
        prefix = key.split("_")[1]
        self._shell(
            "from apps_registry import models, services;"
            f"services.revoke_key(key=models.ServiceKey.objects.get(prefix='{prefix}'))"
        )

    def new_app(self, command: str) -> str:
        """`create_app NAME …`, under a name that nobody else has; → the JSON it prints."""
        create, name, *options = command.split()
        command = [create, f"{name}-{next(_numbers)}", *options, "--json"]
        return self._shell(f"from django.core.management import call_command; call_command(*{command!r})")

    def delete_device(self, name: str) -> None:
        """As the admin does."""
        self._shell(f"from apps_registry.models import Device; Device.objects.filter(name='{name}').delete()")

    def stranger_key(self) -> str:
        """A key of another app."""
        name = f"other-{next(_numbers)}"
        return self._shell(
            f"from apps_registry import services; print(services.create_app(name='{name}', types={{}}).key)"
        )

    def _shell(self, code: str) -> str:
        return self.servers[0].shell(code).strip()

    def set_room_rate(self, rate: int | None) -> None:
        """As the admin does."""
        self._set_of_app("room_rate", str(rate))

    def set_storage_limit(self, room: int | None) -> None:
        """As the admin does: so many bytes more than there are."""
        self._set_of_app("storage_limit", "None" if room is None else f"used(app.pk) + {room}")

    def _set_of_app(self, field: str, value: str) -> None:
        self._shell(
            "from apps_registry.models import App; from messaging.log.storage import used;"
            f"app = App.objects.get(name='demo'); App.objects.filter(pk=app.pk).update({field}={value})"
        )

    async def phone(self, name: str | None = None, user: str | None = None) -> Phone:
        """A registered device: in its own stream, its user's and a room of its own."""
        number = next(_numbers)
        name = name or f"phone-{number}"
        user = user or f"user-{number}"
        async with httpx.AsyncClient(
            verify=PLAIN, base_url=self.base, headers={"Authorization": f"Bearer {self.key}"}, timeout=DEADLINE
        ) as http:
            answer = await http.post(
                "/api/v1/devices", json={"device": name, "user": user, "streams": [f"room:of-{name}"]}
            )
        assert answer.status_code == 201, answer.text
        return Phone([server.base for server in self.servers], name, answer.json()["token"], user, self.witness.settle)


@contextmanager
def opened(server: Server) -> Iterator[House]:
    key = server.prepare()
    servers = [server.start(), *([server.beside().start()] if DATABASE_URL else [])]
    yield House(servers, key)
    for other in servers[1:]:
        other.stop()
    server.dispose()


@pytest.fixture(scope="session", params=["uvicorn", "daphne"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A real installation, once under each of the two servers that are supported."""
    server = Server(tmp_path_factory.mktemp(request.param), kind=request.param, environment=ENVIRONMENT)
    with opened(server) as made:
        yield made


@pytest.fixture(autouse=True)
async def witness_goes_home(house: House) -> AsyncIterator[None]:
    yield
    await house.witness.close()


@pytest.fixture
async def new_phone(house: House) -> AsyncIterator[Callable[..., Awaitable[Phone]]]:
    made: list[Phone] = []

    async def make(**options: str) -> Phone:
        made.append(await house.phone(**options))
        return made[-1]

    yield make
    for phone in made:
        await phone.close()


@pytest.fixture
async def phone(new_phone: Callable[..., Awaitable[Phone]]) -> Phone:
    return await new_phone()


@pytest.fixture
async def game_service(house: House) -> AsyncIterator[Service]:
    service = await Service(house.servers[-1].base, house.key).connect()
    yield service
    await service.close()


@pytest.fixture
async def backend(house: House) -> AsyncIterator[meanwhile_client.Service]:
    """A service of the Python client."""
    async with meanwhile_client.Service(house.servers[-1].base, house.key) as service:
        yield service
