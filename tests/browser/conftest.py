from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.chromium import chromium
from tests.servers import Server

expect.set_options(timeout=15_000)

NEW_KEY = """
from apps_registry.models import Service
from apps_registry.services import create_key
print(create_key(service=Service.objects.get(app__name="demo", name="game"), scopes=["publish", "read"])[1])
"""


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server as `make run` starts it."""
    server = Server(tmp_path_factory.mktemp("demo"), environment={"MEANWHILE_DEMO": "1", "LOG_LEVEL": "WARNING"})
    server.manage("migrate", "-v0")
    server.manage("setup_demo")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def game_service(demo: Server) -> Iterator[httpx.Client]:
    """The demo's game service with a key of its own."""
    key = demo.manage("shell", "-v0", "-c", NEW_KEY).strip().splitlines()[-1]
    with httpx.Client(base_url=demo.base, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


# Of this package, not of the session: Playwright's sync API keeps an event loop running as long as it lives.
@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> BrowserContext:
    return browser.contexts[0]


@pytest.fixture
def page(context: BrowserContext, demo: Server) -> Iterator[Page]:
    """The test client, open and live."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(demo.base)
    expect(page.get_by_test_id("state")).to_have_attribute("data-state", "live")
    yield page
    page.close()
    assert errors == []
