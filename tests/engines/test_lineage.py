"""An older database is put back: no position of before counts, and nothing is passed off as current (P11)."""

from __future__ import annotations

import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.consumers.actors import Phone, Service, Socket, entry, messages
from tests.consumers.conftest import House
from tests.engines.conftest import OpenHouse, wait_until_ready
from tests.engines.private import Postgres
from tests.servers import Server
from tests.waiting import until

NewPhone = Callable[..., Awaitable[Phone]]


ENVIRONMENT = {"DATABASE_URL": "", "REDIS_URL": "", "MEANWHILE_REPAIR_INTERVAL": "0.2"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of an installation that never ran, and its key. On SQLite, whatever engine the suite runs on."""
    server = Server(tmp_path_factory.mktemp("prepared"), environment=ENVIRONMENT)
    return server.folder, server.prepare()


@pytest.fixture
def house(prepared: tuple[Path, str], tmp_path: Path) -> Iterator[House]:
    folder, key = prepared
    server = Server(shutil.copytree(folder, tmp_path / "var"), environment=ENVIRONMENT)
    yield House([server.start()], key)
    server.stop()


def copy(server: Server, to: Path) -> None:
    """As somebody does who stops the server to copy its database."""
    server.stop()
    shutil.copy(server.folder / "meanwhile.sqlite3", to)
    server.start()


def put_back(server: Server, copied: Path) -> None:
    """In the place of the newer one, and starts the server again."""
    server.stop()
    for rest in ("-wal", "-shm"):
        (server.folder / f"meanwhile.sqlite3{rest}").unlink(missing_ok=True)
    shutil.copy(copied, server.folder / "meanwhile.sqlite3")
    server.start()


class Player:
    """A phone that handles what it gets, and its game."""

    def __init__(self, house: House, phone: Phone) -> None:
        self._house = house
        self.phone = phone
        self.epoch = ""
        self.handled = 0

    async def play(self, turns: int) -> None:
        """So many turns are published, arrive, and are handled."""
        service = await Service(self._house.servers[-1].base, self._house.key).connect()
        socket, welcome = await self.phone.connect()
        self.epoch = entry(welcome, self.phone.stream)["epoch"]
        for number in range(turns):
            await service.publish(self.phone.stream, "turn", f"turn {self.handled + number + 1}")
        self.handled = (await socket.messages(turns))[-1]["offset"]
        saved = await socket.ask("results", stream=self.phone.stream, upto=self.handled)
        assert saved["processed"] == self.handled
        await socket.close()
        await service.close()

    async def come_back(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Connects with its position. → its entry of the welcome, and what follows."""
        position = {self.phone.stream: {"epoch": self.epoch, "processed": self.handled}}
        socket, welcome = await self.phone.connect(resume="replay", positions=position)
        frames = await socket.caught_up()
        await socket.close()
        return entry(welcome, self.phone.stream), frames


def resets(frames: list[dict[str, Any]], stream: str) -> list[tuple[int, int]]:
    gaps = [frame for frame in frames if frame["type"] == "gap" and frame["stream"] == stream]
    return [(gap["from"], gap["to"]) for gap in gaps if gap["reason"] == "reset"]


@pytest.fixture
async def player(house: House) -> AsyncIterator[Player]:
    phone = await house.phone()
    yield Player(house, phone)
    await phone.close()


async def test_an_old_file_put_back_is_another_history(house: House, player: Player, tmp_path: Path) -> None:
    server = house.servers[0]
    await player.play(3)
    copy(server, tmp_path / "old")
    await player.play(5)
    known = player.epoch

    put_back(server, tmp_path / "old")
    place, frames = await player.come_back()
    pull = await player.phone.http.get("/api/v1/pending", params={"stream": player.phone.stream, "epoch": known})

    assert (place["head"], place["processed"]) == (3, 3)
    assert place["epoch"] != known
    assert resets(frames, player.phone.stream) == [(1, 3)]
    assert (pull.status_code, pull.json()["code"]) == (410, "position_gone")


async def test_what_is_published_afterwards_is_not_taken_for_what_was_lost(
    house: House, player: Player, tmp_path: Path
) -> None:
    server = house.servers[0]
    await player.play(3)
    copy(server, tmp_path / "old")
    await player.play(5)
    known, handled = player.epoch, player.handled

    put_back(server, tmp_path / "old")
    service = await Service(house.base, house.key).connect()
    for number in range(7):  # the new history grows past the position of the old one
        await service.publish(player.phone.stream, "turn", f"new {number}")
    late = await player.phone.http.post(
        "/api/v1/results", json={"stream": player.phone.stream, "upto": handled, "epoch": known}
    )
    place, frames = await player.come_back()
    await service.close()

    assert handled == 8 < place["head"] == 10
    assert late.json()["code"] == "epoch_changed"
    assert place["processed"] == 3
    assert resets(frames, player.phone.stream) == [(1, 3)]
    assert [one["data"] for one in messages(frames)] == [f"new {number}" for number in range(7)]


async def test_a_copy_of_the_running_server_put_back_after_a_kill_is_another_history(
    house: House, player: Player, tmp_path: Path
) -> None:
    """Same start, same nonce: only the mark tells."""
    server = house.servers[0]
    await player.play(3)
    vacuum = f"connection.cursor().execute('VACUUM INTO %s', ['{tmp_path}/old'])"
    server.manage("shell", "-v0", "-c", f"from django.db import connection; {vacuum}")
    await player.play(1)

    server.kill()
    put_back(server, tmp_path / "old")
    place, frames = await player.come_back()

    assert place["head"] == 3
    assert resets(frames, player.phone.stream) == [(1, 3)]


async def test_a_killed_server_keeps_its_history(house: House, player: Player) -> None:
    server = house.servers[0]
    for round in range(3):
        await player.play(round + 1)
        server.kill()
        server.start()

        place, frames = await player.come_back()

        assert place["epoch"] == player.epoch
        assert place["processed"] == player.handled
        assert resets(frames, player.phone.stream) == []


async def test_a_restart_and_a_publishing_command_keep_the_history(house: House, player: Player) -> None:
    server = house.servers[0]
    await player.play(2)
    server.stop()
    server.manage(
        "shell",
        "-v0",
        "-c",
        f"import messaging; messaging.publish(app='demo', to='{player.phone.stream}', name='turn', data='by command')",
    )
    server.start()

    place, frames = await player.come_back()

    assert place["epoch"] == player.epoch
    assert resets(frames, player.phone.stream) == []
    assert [one["data"] for one in messages(frames)] == ["by command"]


async def test_a_missing_side_file_is_another_history(house: House, player: Player) -> None:
    server = house.servers[0]
    await player.play(2)
    server.stop()
    (server.folder / "meanwhile.sqlite3.lineage").unlink()
    server.start()

    place, frames = await player.come_back()

    assert place["epoch"] != player.epoch
    assert resets(frames, player.phone.stream) == [(1, 2)]


async def test_rotate_epoch_reaches_the_devices_of_a_running_server(house: House, player: Player) -> None:
    await player.play(2)
    socket, _ = await player.phone.connect()

    said = house.servers[0].manage("rotate_epoch", "--yes")
    bye = await socket.expect("bye")
    place, frames = await player.come_back()

    assert "have a new epoch" in said
    assert (bye["code"], bye["reconnect"]) == ("restart", True)
    assert place["epoch"] != player.epoch
    assert resets(frames, player.phone.stream) == [(1, 2)]


async def test_a_service_that_had_read_further_misses_no_new_result(
    house: House, player: Player, tmp_path: Path
) -> None:
    server = house.servers[0]
    await player.play(1)
    copy(server, tmp_path / "old")
    for _ in range(3):
        await player.play(1)
    service = Service(server.base, house.key)
    read = (await service.http.get("/api/v1/results")).json()["next"]

    put_back(server, tmp_path / "old")
    player.handled = 1
    await player.play(1)
    new = (await service.http.get("/api/v1/results", params={"after": read})).json()["items"]
    await service.http.aclose()

    assert [(row["from"], row["upto"], row["status"]) for row in new] == [(2, 2, "processed")]


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


def rows_of(house: House, sql: str, *parameters: object) -> list[tuple[object, ...]]:
    with psycopg.connect(house.servers[0].environment["DATABASE_URL"]) as connection:
        return connection.execute(sql, parameters).fetchall()


@pytest.fixture
def cluster(open_house: OpenHouse) -> House:
    return open_house(MEANWHILE_REPAIR_INTERVAL="0.2")


async def test_a_failover_to_a_lagging_standby_is_another_history(postgres: Postgres, cluster: House) -> None:
    """The servers keep running; the standby is promoted in the primary's place."""
    player = Player(cluster, await cluster.phone())
    await player.play(3)
    standby = postgres.copy()
    await player.play(5)
    waiting: Socket
    waiting, _ = await player.phone.connect()

    await cluster.witness.close()
    postgres.take_over(standby)
    bye = (await waiting.until("bye"))[-1]
    wait_until_ready(cluster)
    place, frames = await player.come_back()
    after = Player(cluster, player.phone)
    after.handled = 3
    await after.play(2)
    await player.phone.close()
    await cluster.witness.close()

    assert bye["code"] == "restart"
    assert (place["head"], place["processed"]) == (3, 3)
    assert place["epoch"] != player.epoch
    assert resets(frames, player.phone.stream) == [(1, 3)]
    assert after.handled == 5


async def test_both_processes_agree_on_one_new_epoch(postgres: Postgres, cluster: House) -> None:
    phone = await cluster.phone()
    before = {entry((await phone.connect())[1], phone.stream)["epoch"] for _ in range(2)}

    postgres.take_over(postgres.copy())
    wait_until_ready(cluster)

    def epochs() -> set[str]:
        rows = rows_of(cluster, "SELECT epoch FROM messaging_stream WHERE name = %s", phone.stream)
        return {str(epoch) for (epoch,) in rows}

    until(lambda: epochs() != before, "a new epoch")
    after = {entry((await phone.connect())[1], phone.stream)["epoch"] for _ in range(2)}
    resets = rows_of(cluster, "SELECT resets FROM messaging_lineage")
    await phone.close()
    await cluster.witness.close()

    assert len(before) == len(after) == 1
    assert before != after
    assert resets == [(1,)]


async def test_a_crash_and_a_restart_of_postgres_keep_the_history(postgres: Postgres, cluster: House) -> None:
    player = Player(cluster, await cluster.phone())
    for how in (signal.SIGQUIT, signal.SIGINT):
        await player.play(2)
        postgres.stop(how)
        postgres.start()
        wait_until_ready(cluster)

        place, frames = await player.come_back()

        assert place["epoch"] == player.epoch
        assert resets(frames, player.phone.stream) == []
        await cluster.witness.close()
    await player.phone.close()
