"""The guard over the plans of statements (tests/plans.py) sees what is run, and what is wrong with it."""

from __future__ import annotations

import pytest

from messaging.log import sql
from tests import plans
from tests.conftest import World

pytestmark = pytest.mark.django_db


def against(statement: str, *parameters: object) -> list[str]:
    """The first words of each fault."""
    return [fault.partition(":")[0] for fault in plans.explained(statement, parameters)]


def test_what_the_log_runs_is_looked_at(world: World) -> None:
    world.publish("room:lobby")

    starts = {" ".join(statement.split()[:3]) for statement in plans.seen()}
    assert {"INSERT INTO messaging_message", "INSERT INTO messaging_stream"} <= starts


@pytest.mark.sqlite
def test_the_rows_of_a_parameter_are_not_searched_for_each_message() -> None:
    """As retention once did: for the order the whole stream, and for each of its messages all offsets of the round."""
    source = sql.rows("r", place="bigint")
    looking = 'SELECT m."offset", m.service_id, m.type_id FROM'
    joined = f'{source} JOIN messaging_message m ON m.stream_id = %s AND m."offset" = r.place ORDER BY m."offset"'
    inside = f'messaging_message m WHERE m.stream_id = %s AND m."offset" IN (SELECT r.place FROM {source})'
    packed = sql.packed([(1,), (2,)])

    assert against(f"{looking} {joined}", packed, 1) == ["goes through all of json_each again and again"]
    assert against(f'{looking} {inside} ORDER BY m."offset"', 1, packed) == []


@pytest.mark.sqlite
def test_nor_by_a_query_that_each_message_asks_anew() -> None:
    offsets = f'(SELECT count(*) FROM {sql.rows("r", place="bigint")} WHERE r.place > m."offset")'
    statement = f"SELECT m.id FROM messaging_message m WHERE m.stream_id = %s AND {offsets} = 1"

    assert against(statement, 1, sql.packed([(1,)])) == ["goes through all of json_each again and again"]


def test_no_large_table_is_gone_through_as_a_whole() -> None:
    whole = "goes through the whole of messaging_message"

    assert against("SELECT m.id FROM messaging_message m WHERE m.payload = %s", "1") == [whole]
    assert against("SELECT m.id FROM messaging_message m WHERE m.stream_id = %s", 1) == []


@pytest.mark.sqlite
def test_nor_all_of_its_index() -> None:
    found = against("SELECT stream_id, count(*) FROM messaging_message GROUP BY stream_id")

    assert found == ["goes through the whole of messaging_message"]
