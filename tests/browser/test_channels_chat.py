"""The chat for Django Channels in a real browser: two users in a room, logins, a restart.

The servers are ``wsredis demo --channels``, which is uWSGI, and gunicorn's gevent worker.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from wsredis.embedded import EmbeddedRedis

from ..examples.support import SERVERS
from ..servers.support import Setup, Site
from .demo import Demo, connected, picture, windows

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PACKAGE = "wsredis.examples.channels_chat"
OFFLINE = ("CONNECTION REFUSED", "ERR_CONNECTION_REFUSED", "RESPONSE CODE: 503")
"""What the console tells while a server is restarted."""

Window = Callable[..., Page]


class Gunicorn(Site):
    """The chat under gunicorn, with a database of its own."""

    def __init__(self, folder: Path, redis: str) -> None:
        command = (*SERVERS["gunicorn"], f"{PACKAGE}.wsgi:application")
        super().__init__(Setup("gunicorn-channels", command), folder, redis)
        self._environ |= {
            "DJANGO_SETTINGS_MODULE": f"{PACKAGE}.settings",
            "DJANGO_CHAT_DB": str(folder / "db.sqlite3"),
        }
        for words in (["migrate"], ["loaddata", "people"]):
            manage = [sys.executable, "-m", f"{PACKAGE}.manage", *words, "-v", "0"]
            subprocess.run(manage, cwd=folder, env=self._environ, check=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module", params=["demo", "gunicorn"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if request.param == "demo":
        Demo("channels", "").stop()  # the first of two in a row
        demo = Demo("channels", "")
        yield demo
        demo.stop()
        return
    with EmbeddedRedis() as redis:
        server = Gunicorn(tmp_path_factory.mktemp("gunicorn"), redis.url)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def window(chromium: Any, excused: list[str], site: Any) -> Iterator[Window]:
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


def shows(page: Page, *texts: str) -> None:
    expect(page.locator("#messages .text")).to_have_text(list(texts))


def test_two_users_in_a_room_with_both_kinds_of_consumer(window: Window) -> None:
    alice = window("alice", "/")
    picture(alice, "channels-index")
    alice.fill("#room", "tea-room")
    alice.click("#choose button")
    connected(alice)
    alice.fill("#me", "alice")
    bob = window("bob", "/chat/tea-room/?sync")
    other = window("carol", "/chat/lobby/")
    picture(other, "channels-empty")
    say(alice, "hello <b>bob</b>")
    say(bob, "hello alice")
    say(other, "nobody is here")
    for page in (alice, bob):
        shows(page, "hello <b>bob</b>", "hello alice")
    shows(other, "nobody is here")
    expect(bob.locator(".other .from")).to_have_text("alice")
    expect(alice.locator(".own .from")).to_have_text("you")
    picture(alice, "channels-room")
    phone = window("dora", "/chat/tea-room/", color_scheme="dark")
    phone.set_viewport_size({"width": 320, "height": 560})
    say(phone, "from a phone")
    shows(bob, "hello <b>bob</b>", "hello alice", "from a phone")
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture(phone, "channels-phone")


def test_a_name_that_is_not_valid_is_refused(window: Window) -> None:
    page = window("", "/?room=caf%C3%A9")
    expect(page.locator("#error")).to_contain_text("hyphens")


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
    shows(bob, "it is me")
    expect(bob.locator(".other .from")).to_have_text("alice")

    elsewhere = alice.context.new_page()
    elsewhere.goto(alice.url)
    connected(elsewhere)
    alice.evaluate("socket.addEventListener('close', ({ code }) => { window.ended = code; })")
    elsewhere.click("#logout")
    alice.wait_for_function("window.ended === 4401")


def test_the_page_reconnects_after_a_restart(excused: list[str], site: Any, window: Window) -> None:
    if isinstance(site, Demo):
        pytest.skip("the server of the demo ends with the demo")
    excused += OFFLINE
    alice = window("alice", "/chat/attic/")
    alice.evaluate("socket.addEventListener('close', ({ code }) => { window.ended = code; })")
    port = site.port
    site.stop()
    alice.wait_for_function("window.ended === 1012")
    expect(alice.locator("#state")).to_have_attribute("data-state", "reconnecting")
    alice.fill("#text", "too early")
    alice.click("#send")
    expect(alice.locator("#error")).to_contain_text("Not sent")
    site.port = port
    site._spawn()
    connected(alice)
    alice.click("#send")
    shows(alice, "too early")
