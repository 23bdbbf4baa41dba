"""A worker beside servers, all as processes: what a device reports is heard, also after a crash of the database."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from tests.consumers.conftest import House
from tests.engines.conftest import OpenHouse, wait_until_ready
from tests.engines.private import Postgres
from tests.engines.test_postgres_faults import TERMINATE
from tests.servers import PLAIN, ROOT
from tests.waiting import until
from tests.webhooks.receiver import Heard, Receiver


@pytest.fixture(scope="module")
def house(open_house: OpenHouse) -> House:
    return open_house()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def worker(house: House) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(
        [sys.executable, "manage.py", "deliver_webhooks", "--interval", "0.1"],
        cwd=ROOT,
        env=house.servers[0].variables(),
    )
    yield running
    running.kill()
    running.wait(20)


def test_a_worker_lives_through_a_crash_of_the_database(
    house: House, postgres: Postgres, receiver: Receiver, worker: subprocess.Popen[bytes]
) -> None:
    base = f"{house.servers[1].base}/api/v1"
    with httpx.Client(
        verify=PLAIN, base_url=base, headers={"Authorization": f"Bearer {house.key}"}, timeout=40
    ) as service:
        made = service.post("/webhooks", json={"url": receiver.url, "events": ["results"]}).json()
        token = service.post("/devices", json={"device": "phone"}).json()["token"]

        def handled(upto: int) -> None:
            """The phone has processed one more message."""
            draft = {"to": "device:phone", "name": "turn", "data": upto}
            until(lambda: service.post("/messages", json={"messages": [draft]}).is_success, "published")
            body = {"stream": "device:phone", "upto": upto}
            phone = {"Authorization": f"Bearer {token}"}
            until(lambda: service.post("/results", json=body, headers=phone).is_success, "reported")

        handled(1)
        until(lambda: receiver.heard, "the first result")
        postgres.stop(signal.SIGQUIT)
        postgres.start()
        wait_until_ready(house)
        handled(2)
        until(lambda: len({heard.id for heard in receiver.heard}) == 2, "the second result")

    assert worker.poll() is None
    told = [heard.verified(made["secret"])["data"]["items"] for heard in receiver.heard]
    assert [item["upto"] for item in told[0] + told[-1]] == [1, 2]


def test_what_was_answered_while_the_connection_died_is_written_down_all_the_same(
    house: House, postgres: Postgres, receiver: Receiver, worker: subprocess.Popen[bytes]
) -> None:
    """Else it is posted once more when the worker's time with it is over."""

    def answer(_: Heard) -> int:
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(TERMINATE)
        return 204

    receiver.decide = answer
    base = f"{house.servers[1].base}/api/v1"
    with httpx.Client(
        verify=PLAIN, base_url=base, headers={"Authorization": f"Bearer {house.key}"}, timeout=40
    ) as service:
        made = service.post("/webhooks", json={"url": receiver.url, "events": ["results"]}).json()

        pinged = service.post(f"/webhooks/{made['id']}/test")

        assert pinged.status_code == 201, pinged.text
        delivered = f"/webhooks/{made['id']}/deliveries?state=delivered"
        until(lambda: (found := service.get(delivered)).is_success and found.json()["items"], "delivered")
    assert len(receiver.heard) == 1
