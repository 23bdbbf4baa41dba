"""An app whose storage is full, over real sockets and all processes of the installation."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.consumers.actors import DEADLINE, Phone, Service
from tests.consumers.conftest import House


def kilobyte(to: str, name: str = "turn") -> dict[str, Any]:
    return {"to": to, "name": name, "data": "x" * 900}


async def publish_until(service: Service, draft: dict[str, Any], refused: bool) -> dict[str, Any]:
    """Publishes until it is refused, or until it is taken: what is counted is as old as the last round."""
    async with asyncio.timeout(DEADLINE):
        while True:
            (item,) = await service.publish_all(draft)
            if ("problem" in item) is refused:
                return item
            await asyncio.sleep(0.05)


async def test_a_full_app_refuses_by_item_until_there_is_room(
    phone: Phone, game_service: Service, house: House
) -> None:
    await asyncio.to_thread(house.set_storage_limit, 20_000)
    try:
        refused = await publish_until(game_service, kilobyte(phone.room), refused=True)
        over_http = await game_service.http.post(
            "/api/v1/messages",
            json={"messages": [kilobyte(phone.stream), {"to": phone.room, "name": "chat", "data": "passes"}]},
        )

        head = (await game_service.http.get(f"/api/v1/streams/{phone.room}")).json()["head"]
        await game_service.http.post(f"/api/v1/streams/{phone.room}/purge", json={"upto": head})
        taken = await publish_until(game_service, kilobyte(phone.room), refused=False)
    finally:
        await asyncio.to_thread(house.set_storage_limit, None)

    problem = refused["problem"]
    assert (problem["code"], problem["status"], problem["temporary"]) == ("storage_full", 507, True)
    assert over_http.status_code == 200
    first, second = over_http.json()["items"]
    assert (first["problem"]["code"], second) == ("storage_full", {"stream": phone.room})
    assert taken == {"stream": phone.room, "offset": head + 1}
