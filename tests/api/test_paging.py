"""Lists in pages: what a page costs."""

from __future__ import annotations

import pytest
from django.db import connection

from tests.api.callers import Caller
from tests.conftest import World


@pytest.mark.sqlite
@pytest.mark.parametrize("listed", ["devices", "streams"])
def test_a_page_takes_as_long_as_what_is_on_it_not_as_what_the_app_has(
    listed: str, game_api: Caller, world: World
) -> None:
    def hundreds_of_steps(more: int) -> int:
        """Of the engine's, for the first ten, with so many more."""
        for number in range(more):
            world.device(f"phone-{more}-{number}", user=f"user-{more}-{number}", rooms=("room:lobby",))
        hundreds = 0

        def count() -> int:
            nonlocal hundreds
            hundreds += 1
            return 0

        connection.connection.set_progress_handler(count, 100)
        page = game_api.get(f"/api/v1/{listed}", limit=10)
        connection.connection.set_progress_handler(None, 0)
        assert len(page.json()["items"]) == 10
        return hundreds

    few, many = hundreds_of_steps(20), hundreds_of_steps(400)

    assert many < 2 * few
