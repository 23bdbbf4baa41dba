"""docs/how-to/publish-from-django.md, as it stands: the files are written, the commands run, and orders placed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from meanwhile_client import Device

from tests.servers import PLAIN, ROOT, Server

PAGE = (ROOT / "docs/how-to/publish-from-django.md").read_text()
STOCK = "Article(name='bread', stock=5), Article(name='soup', stock=1)"
#: What a page of the shop sends with a form: the cookie's token again.
CSRF = "x" * 32
DEADLINE = 15


def files() -> dict[str, str]:
    """The page's files by their names."""
    return dict(re.findall(r"^`([\w/]+\.py)`\n\n```python\n(.+?)```$", PAGE, re.MULTILINE | re.DOTALL))


def commands() -> list[list[str]]:
    """What it tells to run before the server."""
    told = [command.split() for command in re.findall(r"python manage\.py ([^&\n]+)", PAGE)]
    assert told[-1] == ["serve"]
    return told[:-1]


class Shop:
    """The shop and Meanwhile in one process."""

    def __init__(self, server: Server, key: str) -> None:
        self._server = server
        self.base = server.base
        self.key = key

    async def order(self, *articles: str) -> httpx.Response:
        form = {"customer": "ann", "article": list(articles)}
        async with httpx.AsyncClient(
            verify=PLAIN, cookies={"csrftoken": CSRF}, headers={"X-CSRFToken": CSRF}
        ) as browser:
            return await browser.post(f"{self.base}/orders", data=form)

    def service(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=PLAIN,
            base_url=f"{self.base}/api/v1",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=DEADLINE,
        )

    def orders(self) -> int:
        return int(self._server.shell("from shop.models import Order; print(Order.objects.count())"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop").mkdir()
    (folder / "shop/__init__.py").touch()
    for name, code in files().items():
        (folder / name).write_text(code)
    server = Server(folder, environment={"DJANGO_SETTINGS_MODULE": "shop_settings", "PYTHONPATH": str(folder)})
    server.provide_database()
    said = [server.manage(*command) for command in commands()]
    server.shell(f"from shop.models import Article; Article.objects.bulk_create([{STOCK}])")
    yield Shop(server.start(), re.findall(r"mw_\w+", said[-1])[0])
    server.dispose()


@pytest.fixture
async def told(shop: Shop) -> AsyncIterator[asyncio.Queue[tuple[str, Any]]]:
    """What Ann's phone is told: it is connected, and knows the stocks."""
    heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def hear(message: Any) -> None:
        await heard.put((message.stream, message.data))

    async with shop.service() as service:
        body = {"device": "anns-phone", "user": "ann", "streams": ["room:shop"]}
        registered = await service.post("/devices", json=body)
    phone = Device(shop.base, registered.json()["token"], {"order": hear, "stock": hear})
    running = asyncio.create_task(phone.run())
    async with asyncio.timeout(DEADLINE):
        await phone.connected.wait()
    yield heard
    await phone.close()
    running.cancel()


async def test_an_order_and_its_messages_are_committed_together_or_not_at_all(
    shop: Shop, told: asyncio.Queue[tuple[str, Any]]
) -> None:
    async with asyncio.timeout(DEADLINE):
        good = await shop.order("bread", "soup")
        heard = [await told.get() for _ in range(3)]
        sold_out = await shop.order("bread", "soup")
        again = await shop.order("bread")
        heard += [await told.get() for _ in range(2)]

    assert [answer.status_code for answer in (good, sold_out, again)] == [200, 409, 200]
    assert sold_out.json() == {"error": "sold out"}
    numbers = [answer.json()["order"] for answer in (good, again)]
    assert [data for stream, data in heard if stream == "user:ann"] == [
        {"order": numbers[0], "articles": ["bread", "soup"]},
        {"order": numbers[1], "articles": ["bread"]},
    ]
    # The bread of the order that failed was never taken.
    assert sorted(data for stream, data in heard if stream == "room:shop") == [0, 3, 4]
    assert await asyncio.to_thread(shop.orders) == 2


async def test_what_became_of_an_order_is_known(shop: Shop) -> None:
    placed = (await shop.order("bread")).json()["order"]

    async with shop.service() as service:
        head = (await service.get("/streams/room:kitchen")).json()["head"]
        told = (await service.get(f"/messages/room:kitchen/{head}")).json()["message"]

    assert (told["name"], told["service"], told["id"]) == ("order", None, f"order-{placed}")
