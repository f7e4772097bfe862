"""The chat with rooms in Flask in a real browser: which page gets which messages, a restart.

The servers are ``wsredis demo --flask-rooms``, which is uWSGI, and gunicorn's gevent worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from wsredis.embedded import EmbeddedRedis

from ..examples.support import SERVERS
from ..servers.support import Setup, Site
from .demo import Demo, connected, picture, shows_only, windows

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

GUNICORN = Setup(
    "gunicorn-rooms", (*SERVERS["gunicorn"], "wsredis.examples.flask_rooms.wsgi:application")
)
OFFLINE = ("CONNECTION REFUSED", "ERR_CONNECTION_REFUSED", "RESPONSE CODE: 503")
"""What the console tells while a server is restarted."""

Window = Callable[..., Page]


@pytest.fixture(scope="module", params=["demo", "gunicorn"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if request.param == "demo":
        demo = Demo("flask-rooms", "")
        yield demo
        demo.stop()
        return
    with EmbeddedRedis() as redis:
        server = Site(GUNICORN, tmp_path_factory.mktemp("gunicorn"), redis.url)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def window(chromium: Any, excused: list[str], site: Any) -> Iterator[Window]:
    """Give a function that opens the page in a browser with a memory of its own."""
    with windows(chromium, excused) as new:

        def open_window(name: str, **options: Any) -> Page:
            page = new(**options)
            page.goto(f"http://127.0.0.1:{site.port}/")
            connected(page)
            page.fill("#me", name)
            page.locator("#me").blur()
            return page

        yield open_window


def change(page: Page, room: str) -> None:
    """Enter or leave a room, and wait for the answer."""
    options = page.locator("#to option")
    count = options.count()
    page.click(f"#rooms label:text-is('{room}')")
    expect(options).not_to_have_count(count)


def say(page: Page, text: str, room: str) -> None:
    """Send a message, and wait for its acknowledgement."""
    page.select_option("#to", room)
    page.fill("#text", text)
    page.click("#send")
    expect(page.locator("#messages .own .text").last).to_have_text(text)
    expect(page.locator(".pending")).to_have_count(0)


def test_one_page_in_several_rooms(window: Window) -> None:
    alice, bob, guest = window("alice"), window("bob"), window("carol")
    picture(guest, "rooms-empty")
    change(alice, "garden")
    change(bob, "garden")
    change(bob, "lobby")
    say(alice, "good morning, <b>lobby</b>", "lobby")
    say(bob, "the roses bloom", "garden")
    say(guest, "hello", "lobby")
    shows_only(alice, "good morning, <b>lobby</b>", "the roses bloom", "hello")
    shows_only(bob, "the roses bloom")
    shows_only(guest, "good morning, <b>lobby</b>", "hello")
    expect(alice.locator("li:not(.own) b")).to_have_text(["bob", "carol"])
    expect(alice.locator("li i")).to_have_text(["in lobby", "in garden", "in lobby"])
    picture(alice, "rooms-chat")
    change(bob, "garden")
    expect(bob.locator("#send")).to_be_disabled()
    say(alice, "is anybody here?", "garden")
    phone = window("dora", color_scheme="dark")
    phone.set_viewport_size({"width": 320, "height": 560})
    change(phone, "kitchen")
    say(phone, "from a phone", "lobby")
    shows_only(guest, "good morning, <b>lobby</b>", "hello", "from a phone")
    shows_only(bob, "the roses bloom")
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture(phone, "rooms-phone")


def test_after_a_restart_the_page_is_in_its_rooms(
    excused: list[str], site: Any, window: Window
) -> None:
    if isinstance(site, Demo):
        pytest.skip("the server of the demo ends with the demo")
    excused += OFFLINE
    alice, bob = window("alice"), window("bob")
    for page in (alice, bob):
        change(page, "garden")
    port = site.port
    site.stop()
    expect(alice.locator("#state")).to_have_attribute("data-state", "reconnecting")
    alice.fill("#text", "too early")
    alice.click("#send")
    expect(alice.locator("#error")).to_contain_text("Not sent")
    site.port = port
    site._spawn()
    for page in (alice, bob):
        connected(page)
    say(bob, "are you back?", "garden")
    say(alice, "yes", "garden")
    expect(bob.locator("li:not(.own) .text")).to_have_text(["yes"])
