"""`POST /api/v1/acks`: receipts over HTTP."""

from __future__ import annotations

import pytest

from apps_registry.models import Device
from messaging.models import Subscription
from tests.api.callers import Caller, problem
from tests.conftest import World

ACKS = "/api/v1/acks"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


def cursors(device: Device, stream: str) -> tuple[int, int, int]:
    row = Subscription.objects.get(device=device, stream__name=stream)
    return row.received, row.processed, row.latest_received


def test_a_receipt_moves_received_alone(world: World, phone: Device, phone_api: Caller) -> None:
    for _ in range(3):
        world.publish("device:phone")

    answer = phone_api.post(ACKS, {"acks": [{"stream": "device:phone", "upto": 2}]})

    assert answer.status_code == 204
    assert cursors(phone, "device:phone") == (2, 0, 0)


def test_values_that_were_acknowledged_are_not_pulled_again(world: World, phone: Device, phone_api: Caller) -> None:
    world.publish("room:lobby", "weather", "21", key="berlin")

    phone_api.post(ACKS, {"latest": [{"stream": "room:lobby", "version": 1}]})

    assert cursors(phone, "room:lobby") == (0, 0, 1)
    assert phone_api.get("/api/v1/pending").json()["latest"] == []


def test_receipts_are_cumulative_and_end_at_the_head(world: World, phone: Device, phone_api: Caller) -> None:
    world.publish("device:phone")
    ack = {"stream": "device:phone"}

    phone_api.post(ACKS, {"acks": [{**ack, "upto": 9}]})
    phone_api.post(ACKS, {"acks": [{**ack, "upto": 0}, {**ack, "upto": 1}]})

    assert cursors(phone, "device:phone") == (1, 0, 0)


def test_one_that_is_refused_refuses_all(world: World, phone: Device, phone_api: Caller) -> None:
    world.publish("device:phone")
    good = {"stream": "device:phone", "upto": 1}

    unknown = phone_api.post(ACKS, {"acks": [good, {"stream": "room:elsewhere", "upto": 1}]})
    foreign = phone_api.post(ACKS, {"acks": [good, {**good, "epoch": "another"}]})

    assert problem(unknown) == (404, "unknown_stream")
    assert problem(foreign) == (409, "epoch_changed")
    assert foreign.json()["stream"] == "device:phone"
    assert cursors(phone, "device:phone") == (0, 0, 0)


@pytest.mark.parametrize(
    "body",
    [
        {"acks": [{"stream": "device:phone"}]},
        {"acks": [{"stream": "device:phone", "upto": -1}]},
        {"acks": [{"stream": "device:phone", "upto": 2**53}]},
        {"latest": [{"stream": "device:phone", "version": "1"}]},
        {"acks": {}},
        [],
        {"acks": [{"stream": "device:phone", "upto": 1}] * 1001},
    ],
)
def test_what_makes_no_sense_is_refused(phone_api: Caller, body: object) -> None:
    assert problem(phone_api.post(ACKS, body)) == (400, "invalid")
