from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.chromium import chromium
from tests.servers import PLAIN, Server

expect.set_options(timeout=15_000)


@contextmanager
def as_make_run(server: Server, **environment: str) -> Iterator[Server]:
    """The server as `make run` starts it."""
    server.environment = {"MEANWHILE_DEMO": "1", "LOG_LEVEL": "WARNING", **environment}
    server.shell("from django.core.management import call_command; call_command('setup_demo')")
    server.start()
    yield server
    server.dispose()


@contextmanager
def service_of(server: Server, app: str, name: str, *scopes: str) -> Iterator[httpx.Client]:
    """One of the demo's services, with a key of its own."""
    made = (
        "from apps_registry.models import Service; from apps_registry.services import create_key;"
        f"service = Service.objects.get(app__name={app!r}, name={name!r});"
        f"print(create_key(service=service, scopes={scopes!r})[1])"
    )
    authorization = f"Bearer {server.shell(made).strip()}"
    with httpx.Client(verify=PLAIN, base_url=server.base, headers={"Authorization": authorization}) as client:
        yield client


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with as_make_run(Server(tmp_path_factory.mktemp("demo"))) as running:
        yield running


@pytest.fixture(scope="session")
def game_service(demo: Server) -> Iterator[httpx.Client]:
    with service_of(demo, "demo", "game", "publish", "read") as client:
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
