"""The chat with consumers in Django in a real browser: users in rooms, a login and a logout.

The server is ``wsredis demo --consumers``: uWSGI and an embedded Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .demo import Demo, connected, picture, shows_only, windows

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

Window = Callable[..., Page]


@pytest.fixture(scope="module")
def site() -> Iterator[Demo]:
    site = Demo("consumers", "")
    yield site
    site.stop()


@pytest.fixture
def window(chromium: Any, excused: list[str], site: Demo) -> Iterator[Window]:
    """Give a function that opens a page of the site in a browser with a memory of its own."""
    with windows(chromium, excused) as new:

        def open_window(name: str, at: str, **options: Any) -> Page:
            page = new(**options)
            page.goto(site.url + at)
            if at.startswith("/chat/"):
                connected(page)
                page.fill("#me", name)
                page.locator("#me").blur()
            return page

        yield open_window


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.click("#send")
    expect(page.locator("#messages .own .text").last).to_have_text(text)


def test_users_in_rooms(window: Window) -> None:
    alice = window("alice", "/")
    picture(alice, "consumers-index")
    alice.fill("#room", "tea-room")
    alice.click("#choose button")
    connected(alice)
    alice.fill("#me", "alice")
    bob = window("bob", "/chat/tea-room/")
    other = window("carol", "/chat/lobby/")
    picture(other, "consumers-empty")
    say(alice, "hello <b>bob</b>")
    say(bob, "hello alice")
    say(other, "nobody is here")
    for page in (alice, bob):
        shows_only(page, "hello <b>bob</b>", "hello alice")
    shows_only(other, "nobody is here")
    expect(bob.locator(".other .from")).to_have_text("alice")
    picture(alice, "consumers-room")
    phone = window("dora", "/chat/tea-room/", color_scheme="dark")
    phone.set_viewport_size({"width": 320, "height": 560})
    say(phone, "from a phone")
    shows_only(bob, "hello <b>bob</b>", "hello alice", "from a phone")
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture(phone, "consumers-phone")


def test_a_login_gives_the_name_and_its_end_closes_the_websocket(window: Window) -> None:
    alice = window("mallory", "/chat/garden/")
    bob = window("bob", "/chat/garden/")
    alice.click("#login")
    alice.fill("#id_username", "alice")
    alice.fill("#id_password", "secret")
    alice.click("[type=submit]")
    connected(alice)
    expect(alice.locator("#user")).to_have_text("alice")
    say(alice, "it is me")
    shows_only(bob, "it is me")
    expect(bob.locator(".other .from")).to_have_text("alice")

    elsewhere = alice.context.new_page()
    elsewhere.goto(alice.url)
    connected(elsewhere)
    alice.evaluate("socket.addEventListener('close', ({ code }) => { window.ended = code; })")
    elsewhere.click("#logout")
    alice.wait_for_function("window.ended === 4401")
