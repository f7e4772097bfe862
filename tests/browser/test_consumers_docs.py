"""The page and the script of docs/consumers.md in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from ..consumers.test_documentation import FILES, started, write
from .demo import windows

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_two_windows(chromium: Any, redis_server: Any, tmp_path: Path) -> None:
    written = {name: FILES[name] for name in ("app.py", "templates/room.html")}
    write(tmp_path, {**written, "static/room.js": FILES["chat/static/chat/room.js"]})
    site = started("flask", tmp_path, redis_server.url)
    site.start()
    try:
        with windows(chromium, ("404 (NOT FOUND)",)) as new:  # it has no icon
            alice, bob = new(), new()
            for page in (alice, bob):
                page.goto(f"http://127.0.0.1:{site.port}/chat/lobby/")
                page.wait_for_function("ws.state === 'open'")
            for page, text in ((alice, "hello <b>bob</b>"), (bob, "hello alice")):
                page.fill("[name=text]", text)
                page.click("button")
                for window in (alice, bob):
                    expect(window.locator("li").last).to_have_text(f"guest: {text}")
                expect(page.locator("[name=text]")).to_have_value("")
    finally:
        site.stop()
