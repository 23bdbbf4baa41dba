"""The pull: `GET /api/v1/pending`."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps_registry.models import Device
from messaging import operations
from messaging.api import waiting
from messaging.live.node import Node
from messaging.log import reading, retention
from messaging.log.effects import Effects
from messaging.models import Gap, Message, Stream, Subscription
from messaging.protocol import wire
from tests.api.callers import Caller, problem
from tests.conftest import World

PENDING = "/api/v1/pending"


pytestmark = pytest.mark.usefixtures("idle_node")


def processed(device: Device, stream: str, upto: int) -> None:
    Subscription.objects.filter(device=device, stream__name=stream).update(processed=upto, received=upto)


def told(answer: dict) -> list[tuple[str, int]]:
    return [(item["stream"], item["offset"]) for item in answer["messages"]]


def test_everything_not_processed_comes_in_order_with_the_cut(world: World, phone: Device, phone_api: Caller) -> None:
    for number in range(4):
        world.publish("device:phone", payload=f'{{"n":{number}}}')
    processed(phone, "device:phone", 1)

    answer = phone_api.get(PENDING, stream="device:phone").json()

    entry = world.entry(phone)
    assert answer["streams"] == {
        "device:phone": {
            "epoch": entry.epoch,
            "processed": 1,
            "cut": 4,
            "head": 4,
            "tail": 1,
            "latest_received": 0,
            "complete": True,
        }
    }
    assert [(item["offset"], item["data"]) for item in answer["messages"]] == [
        (2, {"n": 1}),
        (3, {"n": 2}),
        (4, {"n": 3}),
    ]
    assert (answer["latest"], answer["gaps"], answer["next"]) == ([], [], None)


def test_the_text_built_in_sql_is_that_of_the_wire(world: World, phone: Device, phone_api: Caller) -> None:
    payload = '{"a" : 1.50, "b":"\\u00e9 é \\" \\\\", "c":[1e5, null]}'
    world.publish("device:phone", payload=payload)
    world.publish("device:phone", "gift", service=None)
    Message.objects.filter(offset=2).update(service=None)
    rows = Message.objects.select_related("stream", "type", "service").order_by("offset")

    text = phone_api.get(PENDING, stream="device:phone").content.decode()

    for row in rows:
        item = wire.message_item(
            stream=row.stream.name,
            offset=row.offset,
            name=row.type.name,
            time=wire.instant(row.published_at),
            service=row.service.name if row.service else None,
            payload=row.payload,
        )
        assert "{" + item in text
    assert len(json.loads(text)["messages"]) == 2


def test_the_answer_is_kept_by_no_cache(phone_api: Caller) -> None:
    assert phone_api.get(PENDING).headers["Cache-Control"] == "no-store"


def test_a_pull_changes_nothing(world: World, phone: Device, phone_api: Caller) -> None:
    world.publish("device:phone")
    world.publish("user:ann", "weather", "5")
    before = list(Subscription.objects.order_by("pk").values()), list(Stream.objects.order_by("pk").values())

    with CaptureQueriesContext(
        connection,
    ) as queries:
        first = phone_api.get(PENDING).json()
        second = phone_api.get(PENDING).json()

    assert first == second
    assert before == (list(Subscription.objects.order_by("pk").values()), list(Stream.objects.order_by("pk").values()))
    words = {query["sql"].split()[0] for query in queries}
    assert not words & {"INSERT", "UPDATE", "DELETE"}


@pytest.mark.django_db(transaction=True)
def test_a_pull_does_not_wait_for_a_writer_and_sees_what_was_committed(
    world: World, phone: Device, phone_api: Caller
) -> None:
    world.publish("device:phone")
    writer = connections.create_connection("default")
    with writer.cursor() as cursor:
        cursor.execute("BEGIN" if connection.vendor == "postgresql" else "BEGIN IMMEDIATE")
        cursor.execute("UPDATE messaging_stream SET head = 7 WHERE name = 'device:phone'")

        answer = phone_api.get(PENDING, stream="device:phone").json()

        cursor.execute("ROLLBACK")
    writer.close()
    assert told(answer) == [("device:phone", 1)]
    assert answer["streams"]["device:phone"]["head"] == 1


@pytest.mark.django_db(transaction=True)
def test_a_pull_leaves_no_transaction_open(world: World, phone: Device, phone_api: Caller) -> None:
    phone_api.get(PENDING)
    phone_api.get(PENDING, stream="room:elsewhere")

    world.publish("device:phone")

    assert told(phone_api.get(PENDING).json()) == [("device:phone", 1)]


def test_streams_are_merged_by_time_and_keep_their_own_order(world: World, phone: Device, phone_api: Caller) -> None:
    world.publish("device:phone")
    world.publish("room:lobby")
    world.publish("device:phone")
    base = timezone.now()
    # The clock was set back between the two messages of device:phone.
    for stream, offset, seconds in [("device:phone", 1, 5), ("room:lobby", 1, 3), ("device:phone", 2, 1)]:
        Message.objects.filter(stream__name=stream, offset=offset).update(
            published_at=base + timedelta(seconds=seconds)
        )

    answer = phone_api.get(PENDING).json()

    assert told(answer) == [("room:lobby", 1), ("device:phone", 1), ("device:phone", 2)]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("streams", [1, 2, 3])
def test_all_pages_together_are_exactly_what_is_pending(
    world: World, phone: Device, phone_api: Caller, limit: int, streams: int
) -> None:
    names = ["device:phone", "room:lobby", "user:ann"][:streams]
    order = [names[number * number % streams] for number in range(17)]
    published = [(stream, world.publish(stream).offset) for stream in order]
    processed(phone, "device:phone", 2)
    base = timezone.now()
    for number, (stream, offset) in enumerate(published):
        Message.objects.filter(stream__name=stream, offset=offset).update(published_at=base + timedelta(seconds=number))
    pending = [
        (stream, offset)
        for stream, offset in published
        if (stream, offset) > ("device:phone", 2) or stream != "device:phone"
    ]

    pages = pages_of(phone_api, limit=limit)

    assert [one for page in pages for one in told(page)] == pending
    assert all(len(page["messages"]) <= limit for page in pages)
    complete = {stream for page in pages for stream, entry in page["streams"].items() if entry["complete"]}
    assert complete >= set(names)
    assert all(entry["complete"] for entry in pages[-1]["streams"].values())


def pages_of(caller: Caller, **query: object) -> list[dict]:
    """Follows the Link header to the end."""
    answer = caller.get(PENDING, **query)
    pages = [answer.json()]
    while "Link" in answer.headers:
        target, _, relation = answer.headers["Link"].partition(">; ")
        assert relation == 'rel="next"'
        url = urlsplit(target.removeprefix("<"))
        assert parse_qs(url.query)["cursor"] == [pages[-1]["next"]]
        answer = caller.get(url.path, **{name: found[0] for name, found in parse_qs(url.query).items()})
        assert answer.status_code == 200, answer.content
        pages.append(answer.json())
        assert len(pages) < 100
    assert pages[-1]["next"] is None
    return pages


def test_what_is_published_during_the_pull_is_not_part_of_it(world: World, phone_api: Caller) -> None:
    world.publish("device:phone")
    world.publish("device:phone")
    first = phone_api.get(PENDING, stream="device:phone", limit=1).json()
    world.publish("device:phone")

    second = phone_api.get(PENDING, cursor=first["next"], limit=10).json()

    assert told(second) == [("device:phone", 2)]
    assert second["next"] is None
    assert (second["streams"]["device:phone"]["cut"], second["streams"]["device:phone"]["head"]) == (2, 3)


def test_the_clients_own_position_counts_where_it_is_ahead(world: World, phone: Device, phone_api: Caller) -> None:
    for _ in range(3):
        world.publish("device:phone")

    ahead = phone_api.get(PENDING, stream="device:phone", after=2, epoch=world.entry(phone).epoch).json()
    processed(phone, "device:phone", 1)
    behind = phone_api.get(PENDING, stream="device:phone", after=0).json()

    assert told(ahead) == [("device:phone", 3)]
    assert told(behind) == [("device:phone", 2), ("device:phone", 3)]


def test_until_ends_the_pull_earlier(world: World, phone_api: Caller) -> None:
    for _ in range(3):
        world.publish("device:phone")

    answer = phone_api.get(PENDING, stream="device:phone", until=2).json()

    assert told(answer) == [("device:phone", 1), ("device:phone", 2)]
    assert answer["streams"]["device:phone"] == answer["streams"]["device:phone"] | {
        "cut": 2,
        "head": 3,
        "complete": True,
    }


@pytest.mark.parametrize("wrong", [{"after": 4}, {"after": 0, "epoch": "another"}, {"epoch": "another"}])
def test_a_position_of_another_history_is_gone(
    world: World, phone: Device, phone_api: Caller, wrong: dict[str, object]
) -> None:
    for _ in range(3):
        world.publish("device:phone")
    processed(phone, "device:phone", 2)

    answer = phone_api.get(PENDING, stream="device:phone", **wrong)

    assert problem(answer) == (410, "position_gone")
    said = answer.json()
    assert said["stream"] == "device:phone"
    assert said["epoch"] == world.entry(phone).epoch
    assert (said["processed"], said["head"]) == (2, 3)


def test_a_cursor_is_void_when_the_epoch_changed(world: World, phone_api: Caller) -> None:
    world.publish("device:phone")
    world.publish("device:phone")
    cursor = phone_api.get(PENDING, limit=1).json()["next"]
    Stream.objects.filter(name="device:phone").update(epoch="0123456789abcdef")

    answer = phone_api.get(PENDING, cursor=cursor)

    assert problem(answer) == (410, "position_gone")


def test_another_devices_cursor_opens_nothing(world: World, phone_api: Caller, stranger_api: Caller) -> None:
    world.publish("device:phone")
    world.publish("device:phone")
    cursor = phone_api.get(PENDING, limit=1).json()["next"]

    answer = stranger_api.get(PENDING, cursor=cursor)

    assert problem(answer) == (404, "unknown_stream")


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 2001},
        {"limit": "ten"},
        {"limit": "１"},
        {"limit": ""},
        {"stream": "device:phone", "after": -1},
        {"stream": "device:phone", "after": 2**53},
        {"stream": "device:phone", "until": "1.5"},
        {"after": 1},
        {"until": 1},
        {"epoch": "a"},
        {"stream": ["device:phone", "room:lobby"]},
        {"stream": "device:\0"},
        {"cursor": "garbage"},
        {"cursor": "é"},
        {"cursor": "gA=="},
        {"cursor": "kA"},
        {"cursor": "x" * 5000},
        {"cursor": "====", "limit": 1},
    ],
)
def test_nonsense_in_the_query_is_refused(phone: Device, phone_api: Caller, query: dict[str, object]) -> None:
    answer = phone_api.get(PENDING, **query)

    if query == {"cursor": "gA=="}:  # an empty map: a pull of nothing
        assert answer.json()["messages"] == []
    else:
        assert problem(answer) == (400, "invalid")


@pytest.mark.parametrize("stream", ["room:elsewhere", "device:tablet", "nonsense"])
def test_a_stream_that_is_not_the_devices_is_unknown(phone: Device, phone_api: Caller, stream: str) -> None:
    assert problem(phone_api.get(PENDING, stream=stream)) == (404, "unknown_stream")


def test_the_stranger_sees_nothing_of_streams_of_the_same_names(
    world: World, phone: Device, stranger_api: Caller
) -> None:
    world.publish(["device:phone", "user:ann", "room:lobby"])
    world.publish("user:ann", "weather", "5")

    answer = stranger_api.get(PENDING).json()

    assert (answer["messages"], answer["latest"], answer["gaps"]) == ([], [], [])


def test_the_newest_value_per_key_comes_on_the_first_page_alone(world: World, phone: Device, phone_api: Caller) -> None:
    for value in ("1", "2", "3"):
        world.publish("user:ann", "weather", value, key="berlin")
    world.publish("user:ann", "weather", '{"rain":true}', key="paris")
    world.publish("device:phone")
    world.publish("device:phone")

    first, second = pages_of(phone_api, limit=1)

    values = [(one["name"], one["key"], one["version"], one["coalesced"], one["data"]) for one in first["latest"]]
    assert values == [("weather", "berlin", 3, 3, 3), ("weather", "paris", 4, 1, {"rain": True})]
    assert second["latest"] == []


def test_only_values_of_the_stream_asked_for_come(world: World, phone: Device, phone_api: Caller) -> None:
    world.publish("user:ann", "weather", "1")
    world.publish("room:lobby", "weather", "2")

    answer = phone_api.get(PENDING, stream="room:lobby").json()

    assert [one["data"] for one in answer["latest"]] == [2]


def test_what_cannot_be_delivered_any_more_is_a_gap(world: World, phone: Device, phone_api: Caller) -> None:
    for _ in range(6):
        world.publish("device:phone")
    stream = Stream.objects.get(name="device:phone", app=world.app)
    retention.purge(stream_id=stream.pk, upto=2, effects=Effects())
    Message.objects.filter(stream=stream, offset__in=[4, 6]).update(expires_at=timezone.now() - timedelta(seconds=1))

    answer = phone_api.get(PENDING).json()

    assert told(answer) == [("device:phone", 3), ("device:phone", 5)]
    assert answer["gaps"] == [
        {"stream": "device:phone", "from": 1, "to": 2, "reason": "purged"},
        {"stream": "device:phone", "from": 4, "to": 4, "reason": "expired"},
        {"stream": "device:phone", "from": 6, "to": 6, "reason": "expired"},
    ]
    assert answer["streams"]["device:phone"]["complete"] is True


@pytest.mark.parametrize("kept", [[30], [1, 30], []])
def test_a_hole_longer_than_a_page_is_told_at_once(
    world: World, phone: Device, phone_api: Caller, kept: list[int]
) -> None:
    for _ in range(30):
        world.publish("device:phone")
    stream = Stream.objects.get(name="device:phone")
    Message.objects.filter(stream=stream).exclude(offset__in=kept).delete()
    Stream.objects.filter(pk=stream.pk).update(tail=min(kept, default=31))

    pages = pages_of(phone_api, stream="device:phone", limit=2)

    assert [offset for page in pages for _, offset in told(page)] == kept
    gaps = [offset for page in pages for gap in page["gaps"] for offset in range(gap["from"], gap["to"] + 1)]
    assert sorted(gaps + kept) == list(range(1, 31))
    assert len(pages) <= 3


@pytest.mark.parametrize("octets", [reading.BYTES, 1])
@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_every_offset_is_told_once_as_a_message_or_in_a_gap(
    world: World, phone: Device, phone_api: Caller, monkeypatch: pytest.MonkeyPatch, limit: int, octets: int
) -> None:
    monkeypatch.setattr(reading, "BYTES", octets)
    for number in range(12):
        world.publish("device:phone" if number % 3 else "room:lobby")
    past = timezone.now() - timedelta(seconds=1)
    Message.objects.filter(stream__name="device:phone", offset__in=[1, 2, 5, 8]).update(expires_at=past)
    Message.objects.filter(stream__name="room:lobby", offset__in=[1, 2, 3]).update(expires_at=past)
    Gap.objects.all().delete()

    pages = pages_of(phone_api, limit=limit)

    offsets: dict[str, list[int]] = {"device:phone": [], "room:lobby": []}
    for page in pages:
        for stream, offset in told(page):
            offsets[stream].append(offset)
        for gap in page["gaps"]:
            assert gap["reason"] == "expired"
            offsets[gap["stream"]] += range(gap["from"], gap["to"] + 1)
    assert {stream: sorted(found) for stream, found in offsets.items()} == {
        "device:phone": list(range(1, 9)),
        "room:lobby": list(range(1, 5)),
    }
    messages = [one for page in pages for one in told(page) if one[0] == "device:phone"]
    assert messages == [("device:phone", offset) for offset in (3, 4, 6, 7)]


def test_a_closed_stream_says_so(world: World, phone: Device, phone_api: Caller) -> None:
    world.publish("room:lobby")
    Stream.objects.filter(name="room:lobby").update(closed_at=timezone.now())

    streams = phone_api.get(PENDING).json()["streams"]

    assert streams["room:lobby"]["closed"] is True
    assert "closed" not in streams["device:phone"]


def test_unknown_parameters_are_ignored(phone: Device, phone_api: Caller) -> None:
    assert phone_api.get(PENDING, colour="blue").status_code == 200


def test_a_page_is_counted_on_the_devices_session(idle_node: Node, phone: Device, phone_api: Caller) -> None:
    class Session:
        pages = 0

    idle_node.hub.sessions[phone.pk] = session = Session()  # type: ignore[assignment]

    phone_api.get(PENDING)

    assert session.pages == 1
    idle_node.hub.sessions.clear()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("node")
def test_a_closing_while_a_pull_that_may_wait_is_being_answered_is_told_by_it(phone: Device, phone_api: Caller) -> None:
    room = Stream.objects.get(name="room:lobby")
    closing = threading.Thread(target=close, args=(room,))

    def closes_before_streams_are_read(execute: Any, sql: str, *rest: Any) -> Any:
        if "messaging_subscription" in sql and closing.ident is None:
            closing.start()
            closing.join()
        return execute(sql, *rest)

    with connection.execute_wrapper(closes_before_streams_are_read):
        answer = phone_api.get(PENDING, wait=30)

    assert answer.json()["streams"]["room:lobby"]["closed"] is True
    assert waiting.left(answer) is None, "it would wait for news that it has"


def close(room: Stream) -> None:
    operations.close_room(room)
    connection.close()
