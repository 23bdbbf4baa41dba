"""Debian's Chromium as a person has it: pages that are really hidden when another tab is in front.

Playwright's own launch keeps every page "visible"; so the browser is started by hand and connected to as it is.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, WebSocket, sync_playwright

from tests import wiretap

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1280,1000",
)


def executable() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.fail("The browser tests need Chromium: apt-get install chromium")
    return found


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A running browser with an empty profile."""
    process = subprocess.Popen(
        [executable(), *FLAGS, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = _port(folder / "DevToolsActivePort", process)
        with sync_playwright() as playwright:
            browser = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}", no_defaults=True)
            for context in browser.contexts:
                context.on("page", _listen_in)
            yield browser
            browser.close()
    finally:
        process.terminate()
        process.wait(20)


def _listen_in(page: Page) -> None:
    """What the page's sockets say and hear is held against docs/reference/asyncapi.yaml."""

    def opened(socket: WebSocket) -> None:
        socket.on("framesent", lambda text: wiretap.sent(socket.url, text))
        socket.on("framereceived", lambda text: wiretap.received(socket.url, text))

    page.on("websocket", opened)


def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert process.poll() is None, "Chromium ended at once"
        if file.exists() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.05)
    raise AssertionError("Chromium did not say where it listens")


def cover(context: BrowserContext) -> Page:
    """Another tab in front: every other page of the window is hidden now."""
    page = context.new_page()
    page.bring_to_front()
    return page
