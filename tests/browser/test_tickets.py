"""Tickets in a real browser: each connection of the chat in Pyramid uses a new one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Response, expect

from wsredis.embedded import EmbeddedRedis

from ..examples.support import Chat

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

SECRET = "a secret of the tests that has more than 32 bytes"


@pytest.fixture
def chat(redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Chat]:
    chat = Chat("uwsgi", "pyramid_chat", tmp_path, redis_server.url, secret=SECRET)
    chat.start()
    yield chat
    chat.stop()


@pytest.fixture
def page(chromium: Any, chat: Chat) -> Iterator[Page]:
    """Give a window that has logged in."""
    context = chromium.new_context()
    page: Page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(chat.origin)
    page.fill("[name=user]", "alice")
    yield page
    context.close()
    assert not troubles


def is_ticket(response: Response) -> bool:
    return response.url.endswith("/ticket") and response.ok


def connected(page: Page) -> None:
    expect(page.locator("#state")).to_have_attribute("data-state", "open", timeout=30_000)


def says(page: Page, text: str) -> None:
    """Say something and wait until it has come back."""
    page.fill("#text", text)
    page.click("#send")
    expect(page.locator("#messages .own:not(.waiting)", has_text=text)).to_have_count(1)


def test_a_browser_comes_in_with_a_ticket_and_back_with_another(page: Page, chat: Chat) -> None:
    with page.expect_response(is_ticket) as first:
        page.click("button")
    connected(page)
    says(page, "hello")
    with page.expect_response(is_ticket) as second:
        chat.reload()
    connected(page)
    says(page, "we are back")
    tickets = [answer.value.text() for answer in (first, second)]
    assert tickets[0] != tickets[1]
    assert not any(ticket in chat.log() for ticket in tickets)


def test_the_browser_gets_the_marker_back_and_never_the_ticket(page: Page) -> None:
    page.click("button")
    connected(page)
    protocol = page.evaluate(
        """async () => {
            const ticket = await (await fetch("/ticket", { method: "POST" })).text();
            const ws = new WebSocket("/ws/chat?subscribe-broadcast", ["wsredis.ticket", ticket]);
            await new Promise((done, fail) => { ws.onopen = done; ws.onclose = fail; });
            ws.close();
            return ws.protocol;
        }"""
    )
    assert protocol == "wsredis.ticket"
