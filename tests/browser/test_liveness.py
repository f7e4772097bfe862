"""A page notices a frozen server, and connects at once when it is shown or online again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

import wsredis
from wsredis.embedded import EmbeddedRedis

from ..servers.support import SETUPS, Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

SCRIPT = Path(wsredis.__file__).parent / "static/wsredis/wsredis.js"

CONNECT = """
    const pauses = { minDelay: 3600000, maxDelay: 3600000 };
    const ws = new WSRedis("/ws/news?subscribe-broadcast", pauses);
    ws.on("state", (state) => (document.body.dataset.state = state));
    ws.on("message", (text) => (document.body.dataset.message = text));
"""
"""A client that waits for an hour before it connects again."""


@pytest.fixture
def site(redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Site]:
    config = {"ping_interval": 1, "pong_timeout": 1}
    site = Site(SETUPS["pywsgi"], tmp_path, redis_server.url, config=config)
    try:
        yield site.start()
    finally:
        site.stop()


@pytest.mark.parametrize(
    "event",
    [
        "document.dispatchEvent(new Event('visibilitychange'))",
        "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))",
        "dispatchEvent(new Event('online'))",
    ],
)
def test_a_frozen_server_is_noticed_and_a_page_that_wakes_connects_at_once(
    chromium: Any, site: Site, event: str
) -> None:
    page = chromium.new_page()
    page.goto(f"http://127.0.0.1:{site.port}/")
    page.add_script_tag(path=SCRIPT)
    page.add_script_tag(content=CONNECT)
    body = page.locator("body")
    expect(body).to_have_attribute("data-state", "open")
    site.publisher("news", broadcast=True).publish("behind the first heartbeat")
    expect(body).to_have_attribute("data-message", "behind the first heartbeat")
    assert site.process is not None
    os.killpg(site.process.pid, signal.SIGSTOP)
    try:
        expect(body).to_have_attribute("data-state", "reconnecting")
    finally:
        os.killpg(site.process.pid, signal.SIGCONT)
    page.evaluate(event)
    expect(body).to_have_attribute("data-state", "open")
    page.close()
