"""clients/python against a real server."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from meanwhile_client import Device, MeanwhileError, Message, Service

from tests.consumers.actors import DEADLINE, Phone
from tests.consumers.conftest import House
from tests.consumers.running import Running
from tests.servers import PLAIN

ROOT = Path(__file__).resolve().parent.parent.parent
CLIENT = ROOT / "clients/python"


async def results(service: Service, phone: Phone, upto: int, after: int) -> list[Any]:
    """What the feed says of the phone, when it has got so far."""
    found = []
    async with asyncio.timeout(DEADLINE):
        async for frame in service.listen("results", after=after):
            if frame["device"] == phone.name:
                found.append((frame["from"], frame["upto"], frame["status"], frame["code"], frame.get("value")))
                if frame["upto"] >= upto:
                    return found
    raise AssertionError("the service was not told")


async def head(service: Service) -> int:
    position = 0
    async for item in service.feed():
        position = item["position"]
    return position


async def test_a_device_hands_over_in_order_and_the_service_hears(
    house: House, phone: Phone, backend: Service, tmp_path: Path
) -> None:
    before = await head(backend)
    running = Running(house, phone, tmp_path)

    items = await backend.publish_all([{"to": phone.stream, "name": "turn", "data": n} for n in range(5)])
    await backend.publish(phone.stream, "gift", "rose")

    assert await running.got(6) == [0, 1, 2, 3, 4, "rose"]
    assert [item["offset"] for item in items] == [1, 2, 3, 4, 5]
    told = await results(backend, phone, 6, before)
    assert told == [
        *[(n + 1, n + 1, "processed", "", {"n": n}) for n in range(5)],
        (6, 6, "failed", "ValueError", None),
    ]
    await running.stop()


async def test_what_was_published_meanwhile_comes_once_after_a_return(
    house: House, phone: Phone, backend: Service, tmp_path: Path
) -> None:
    first = Running(house, phone, tmp_path)
    await backend.publish(phone.stream, "turn", 0)
    await first.got(1)
    await first.stop()
    for n in range(1, 200):
        await backend.publish(phone.stream, "turn", n)

    second = Running(house, phone, tmp_path)
    got = await second.got(199)

    assert got == list(range(1, 200))
    assert second.device.done(phone.stream) == 200
    assert second.gaps == []
    await second.stop()


async def test_what_cannot_be_sent_of_a_result_is_left_out(
    house: House, phone: Phone, backend: Service, tmp_path: Path
) -> None:
    returned = iter(["x" * 65_535, float("nan"), "\x00", "\ud800", {1, 2}, {"fine": True}])

    async def strange(message: Message) -> Any:
        if message.data == "raise":
            raise ValueError("bad \x00 \ud800")
        return next(returned)

    before = await head(backend)
    running = Running(house, phone, tmp_path, gift=strange)

    await backend.publish_all([{"to": phone.stream, "name": "gift", "data": n} for n in [*range(6), "raise"]])

    assert await results(backend, phone, 7, before) == [
        (1, 5, "processed", "", None),
        (6, 6, "processed", "", {"fine": True}),
        (7, 7, "failed", "ValueError", None),
    ]
    await running.stop()


async def test_a_device_in_many_rooms_comes_back(house: House, phone: Phone, backend: Service, tmp_path: Path) -> None:
    rooms = [f"room:{n}-of-{phone.name}" for n in range(80)]
    await backend.register(phone.name, user=phone.user, streams=rooms)
    first = Running(house, phone, tmp_path)
    await backend.publish_all([{"to": rooms, "name": "turn", "data": 1}])
    await first.got(80)
    await first.stop()
    await backend.publish(rooms[-1], "turn", 2)

    second = Running(house, phone, tmp_path)

    assert await second.got(1) == [2]
    await second.stop()


async def test_publishes_are_pipelined_in_order(phone: Phone, backend: Service) -> None:
    items = await asyncio.gather(*(backend.publish(phone.stream, "turn", n) for n in range(300)))

    assert [item["offset"] for item in items] == list(range(1, 301))


async def test_rest_says_the_same_and_an_idempotency_key_repeats(phone: Phone, backend: Service) -> None:
    draft = [{"to": phone.stream, "name": "turn", "data": 1}]

    first = await backend.post(draft, idempotency_key=f"once-{phone.name}")
    again = await backend.post(draft, idempotency_key=f"once-{phone.name}")

    assert first == again == [{"stream": phone.stream, "offset": 1}]
    assert (await backend.message(phone.stream, 1))["items"][0]["state"] == "stored"


async def test_a_refusal_is_an_error_with_its_code(phone: Phone, backend: Service, house: House) -> None:
    with pytest.raises(MeanwhileError, match="unknown_name"):
        await backend.publish(phone.stream, "unheard", 1)
    with pytest.raises(MeanwhileError, match="bad_key"):
        async with Service(house.base, "mw_wrong") as stranger:
            await stranger.publish(phone.stream, "turn", 1)
    with pytest.raises(MeanwhileError, match="bad_token"):
        await Device(house.base, "wrong", {}).run()


async def test_a_latest_value_and_the_state_of_the_app(
    house: House, phone: Phone, backend: Service, tmp_path: Path
) -> None:
    values: asyncio.Queue[Any] = asyncio.Queue()
    running = Running(house, phone, tmp_path, weather=values.put)
    async with asyncio.timeout(DEADLINE):
        await running.device.connected.wait()
        await running.device.set_state("background")
        while (await anext(backend.devices(user=phone.user)))["presence"]["state"] != "background":
            pass
        for n in range(3):
            await backend.publish(phone.stream, "weather", n, key="here")
        await running.device.set_state("foreground")
        value = await values.get()

    assert (value.data, value.coalesced, values.empty()) == (2, 3, True)
    await running.stop()


@pytest.fixture
async def orders(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """Where a handler fails on an order, the stream waits."""
    async with httpx.AsyncClient(
        verify=PLAIN, base_url=house.base, headers={"Authorization": f"Bearer {house.key}"}
    ) as http:
        await http.post("/api/v1/types", json={"name": "order", "delivery": "every", "on_failure": "stop"})
        yield http


class Till:
    """Takes orders, and raises on the bad as long as it is broken."""

    def __init__(self) -> None:
        self.broken = True
        self.tried: list[Any] = []
        self.took: asyncio.Queue[Any] = asyncio.Queue()

    async def take(self, message: Message) -> None:
        self.tried.append(message.data)
        if message.data == "bad" and self.broken:
            raise ValueError("no till")
        await self.took.put(message.data)


def a_sale(phone: Phone) -> list[dict[str, Any]]:
    return [{"to": phone.stream, "name": "order", "data": data} for data in ("good", "bad", "behind")]


@pytest.mark.parametrize("way", ["retry", "foreground", "reconnect"])
async def test_a_failure_that_stops_is_handed_over_again_and_what_is_behind_it_waits(
    house: House, phone: Phone, backend: Service, orders: httpx.AsyncClient, tmp_path: Path, way: str
) -> None:
    before = await head(backend)
    till = Till()
    running = Running(house, phone, tmp_path, order=till.take)

    await backend.publish_all(a_sale(phone))
    async with asyncio.timeout(DEADLINE):
        stopped = await running.stopped.get()
        told = await results(backend, phone, 2, before)
        # It waits alone: more than a window goes by in the same stream, and another stream goes on.
        await backend.publish_all([{"to": phone.stream, "name": "order", "data": n} for n in range(100)])
        await backend.publish(phone.room, "turn", "elsewhere")
        await running.got(1)
    assert (stopped.stream, stopped.offset, str(stopped.error)) == (phone.stream, 2, "no till")
    assert [row[:3] for row in told] == [(1, 1, "processed"), (2, 2, "failed")]
    assert (till.tried, running.device.stopped, running.device.done(phone.stream)) == (
        ["good", "bad"],
        {phone.stream: 2},
        1,
    )

    till.broken = False
    if way == "retry":
        await running.device.retry(phone.stream)
    elif way == "foreground":
        await running.device.set_state("foreground")
    else:
        await running.stop()
        running = Running(house, phone, tmp_path, order=till.take)
    async with asyncio.timeout(DEADLINE):
        took = [await till.took.get() for _ in range(103)]

    assert took == ["good", "bad", "behind", *range(100)]
    assert (await results(backend, phone, 103, before))[1][:3] == (2, 2, "failed")
    assert running.device.stopped == {}
    await running.stop()


async def test_once_the_type_goes_on_so_does_the_stream(
    house: House, phone: Phone, backend: Service, orders: httpx.AsyncClient, tmp_path: Path
) -> None:
    till = Till()
    running = Running(house, phone, tmp_path, order=till.take)
    await backend.publish_all(a_sale(phone))
    async with asyncio.timeout(DEADLINE):
        await running.stopped.get()
        await orders.patch("/api/v1/types/order", json={"on_failure": "continue"})
        await running.device.retry(phone.stream)
        took = [await till.took.get() for _ in range(2)]

    assert took == ["good", "behind"]
    assert running.gaps == []
    await running.stop()


async def test_a_type_that_stops_since_its_message_came_sets_the_device_back(
    house: House, phone: Phone, backend: Service, orders: httpx.AsyncClient, tmp_path: Path
) -> None:
    till = Till()
    held, go = asyncio.Event(), asyncio.Event()

    async def slowly(message: Message) -> None:
        if message.data == "good":
            held.set()
            await go.wait()
        await till.take(message)

    await orders.patch("/api/v1/types/order", json={"on_failure": "continue"})
    running = Running(house, phone, tmp_path, order=slowly)
    async with asyncio.timeout(DEADLINE):
        await running.device.connected.wait()
        await backend.publish_all(a_sale(phone))
        await held.wait()
        await orders.patch("/api/v1/types/order", json={"on_failure": "stop"})
        go.set()
        stopped = await running.stopped.get()
        done = running.device.done(phone.stream)
        till.broken = False
        await running.device.retry(phone.stream)
        took = [await till.took.get() for _ in range(4)]

    assert (stopped.offset, done) == (2, 1)
    assert took == ["good", "behind", "bad", "behind"]
    await running.stop()


def test_the_example_of_the_readme_runs(house: House) -> None:
    """Ten lines, typed as they stand, against an app as the README says to make it."""
    text = (CLIENT / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    (command,) = re.findall(r"manage\.py (create_app [^`]+)`", text)
    key = json.loads(house.new_app(command))["key"]
    environment = {"BASE": house.base, "KEY": key, "PYTHONPATH": str(CLIENT)}

    done = subprocess.run([sys.executable, "-c", example], env=environment, capture_output=True, text=True, timeout=30)

    assert len([line for line in example.splitlines() if line]) == 10
    assert done.returncode == 0, done.stderr
    published, handled, result = sorted(done.stdout.splitlines(), key=lambda line: ("'result'" in line, line[0] != "{"))
    assert published == "{'stream': 'device:my-phone', 'offset': 1}"
    assert handled == "1 {'left': True}"
    assert "'status': 'processed'" in result


def test_demo_traffic_publishes_at_a_rate_and_revokes_its_key(house: House, phone: Phone) -> None:
    keys = "from apps_registry.models import ServiceKey as K; print(K.objects.filter(revoked_at=None).count())"
    before = house._shell(keys)

    said = house.servers[0].manage(
        "demo-traffic", "--address", house.base, "--to", phone.stream, "--rate", "1000", "--count", "20"
    )

    assert said.endswith("\n20 messages published.\n")
    stream = f"Stream.objects.get(name='{phone.stream}')"
    # Every type of the app in turn; some are `latest` or transient.
    assert 5 <= int(house._shell(f"from messaging.models import Stream; print({stream}.head)")) < 20
    assert house._shell(keys) == before


def traffic(house: House, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "manage.py", "demo-traffic", *options]
    variables = house.servers[0].variables()
    return subprocess.Popen(
        command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def test_demo_traffic_ends_by_ctrl_c_and_says_how_much_it_was(house: House, phone: Phone) -> None:
    running = traffic(house, "--address", house.base, "--to", phone.stream, "--rate", "200")
    assert running.stdout
    first = running.stdout.readline()

    running.send_signal(signal.SIGINT)
    said, errors = running.communicate(timeout=DEADLINE)

    assert first == f"200 messages a second to {phone.stream}. Ctrl-C ends it.\n"
    assert re.fullmatch(r"\d+ messages published\.\n", said)
    assert "Traceback" not in errors
    assert running.returncode == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [(("--address", "http://127.0.0.1:1"), "connection_lost"), (("--to", "nonsense"), "unknown_stream")],
)
def test_demo_traffic_says_in_a_line_what_is_wrong(house: House, options: tuple[str, str], told: str) -> None:
    running = traffic(house, "--address", house.base, "--count", "3", *options)

    _, errors = running.communicate(timeout=DEADLINE)

    assert told in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert running.returncode == 1


async def test_a_failing_handler_of_what_has_no_results_does_not_end_the_device(
    house: House, phone: Phone, backend: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Any) -> None:
        raise ValueError("no colour")

    running = Running(house, phone, tmp_path, weather=fail, chat=fail)
    async with asyncio.timeout(DEADLINE):
        await running.device.connected.wait()

    for name in ("weather", "chat", "turn"):
        await backend.publish(phone.stream, name, 1)

    assert await running.got(1) == [1]
    await running.stop()
    logged = [record.getMessage() for record in caplog.records if record.name == "meanwhile_client"]
    assert sorted(logged) == [f"the handler of {name} failed in {phone.stream}" for name in ("chat", "weather")]
