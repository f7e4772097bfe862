"""The chat in Flask in a real browser: which user gets which messages, also after a logout.

The server is ``wsredis demo --flask``: uWSGI and an embedded Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .demo import RETURNS, Demo, connected, picture, shows_only, windows

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

Window = Callable[..., Page]


@pytest.fixture(scope="module")
def site() -> Iterator[Demo]:
    site = Demo("flask", "chat")
    yield site
    site.stop()


@pytest.fixture
def window(chromium: Any, excused: list[str], site: Demo) -> Iterator[Window]:
    """Give a function that opens a browser with a memory of its own, logged in as somebody."""
    site.forget()
    with windows(chromium, excused) as new:

        def open_window(name: str = "", **options: Any) -> Page:
            page = new(**options)
            page.goto(site.url)
            if name:
                log_in(page, name)
            connected(page)
            return page

        yield open_window


def log_in(page: Page, name: str, password: str = "secret", remember: bool = False) -> None:
    page.click("#login")
    page.fill("#name", name)
    page.fill("#password", password)
    page.set_checked("#remember", remember)
    page.click(".login button")
    if password == "secret":
        expect(page.locator("#user")).to_have_text(name)


def say(page: Page, text: str, to: str) -> None:
    page.click(f"fieldset label:text-is('{to}')")
    page.fill("#text", text)
    page.click("#send")
    expect(page.locator("#text")).to_have_value("")  # it has been sent


def test_each_audience_is_reached_and_nobody_else(site: Demo, window: Window) -> None:
    assert all(name in site.said for name in ("alice", "bob", "carol", "secret"))
    alice, bob, carol, guest = window("alice"), window("bob"), window("carol"), window()
    phone = window("bob", color_scheme="dark")
    picture(guest, "flask-empty")
    say(alice, "good morning, <b>all</b>", "everybody")
    for page in (alice, bob, carol, guest, phone):
        shows_only(page, "good morning, <b>all</b>")
    say(alice, "for bob's eyes", "bob")
    say(bob, "page two is done", "#editors")
    say(carol, "the roses bloom", "#gardeners")
    say(phone, "a note to myself", "this browser")
    site.publish("from a terminal")
    first, last = "good morning, <b>all</b>", "from a terminal"
    shows_only(alice, first, "for bob's eyes", "page two is done", last)
    shows_only(bob, first, "for bob's eyes", "page two is done", "the roses bloom", last)
    shows_only(carol, first, "the roses bloom", last)
    shows_only(guest, first, last)
    shows_only(
        phone,
        *(first, "for bob's eyes", "page two is done", "the roses bloom"),
        *("a note to myself", last),
    )
    expect(alice.locator(".own")).to_have_count(2)
    picture(alice, "flask-chat")
    picture(phone, "flask-dark")


def test_who_comes_later_gets_the_last_message_of_each_channel(window: Window) -> None:
    alice = window("alice")
    for text in ("one", "two"):
        say(alice, text, "everybody")
    say(alice, "for me", "this browser")
    shows_only(alice, "one", "two", "for me")
    alice.reload()
    connected(alice)
    shows_only(alice, "two", "for me")
    shows_only(window(), "two")


def test_guests_have_a_session_and_no_voice(window: Window) -> None:
    guest, other = window(), window()
    assert guest.locator("fieldset label").all_inner_texts() == ["this browser"]
    say(guest, "only mine", "this browser")
    shows_only(guest, "only mine")
    say(other, "only theirs", "this browser")
    shows_only(other, "only theirs")
    assert said(guest, {"to": "everybody"}) == 400


def test_a_logout_ends_the_channels_of_the_user_in_every_tab(
    window: Window, excused: list[str]
) -> None:
    excused.extend(RETURNS)
    first, away = window("alice"), window("alice")
    second = first.context.new_page()
    second.goto(first.url)
    connected(second)
    say(away, "before", "#editors")
    for page in (first, second, away):
        shows_only(page, "before")
    first.click("#logout")
    for page in (first, second):
        expect(page.locator("#login")).to_be_visible()
        connected(page)
        shows_only(page)
    say(away, "after", "#editors")
    shows_only(away, "before", "after")
    say(second, "this is nobody", "this browser")
    shows_only(second, "this is nobody")
    shows_only(first, "this is nobody")


def test_who_is_remembered_is_known_without_a_session(window: Window) -> None:
    page = window()
    log_in(page, "carol", remember=True)
    connected(page)
    page.context.clear_cookies(name="session")
    page.reload()
    expect(page.locator("#user")).to_have_text("carol")
    connected(page)
    say(page, "still here", "#gardeners")
    shows_only(page, "still here")


def test_a_wrong_password_gets_a_sentence(window: Window) -> None:
    page = window()
    log_in(page, "alice", "wrong")
    expect(page.locator("#error")).to_contain_text("Wrong name or password")
    picture(page, "flask-login")


def test_wrong_input_gets_a_sentence(window: Window) -> None:
    page = window("alice")
    for fields in ({"to": "alice"}, {"to": "#gardeners"}, {"text": " "}, {"text": "x" * 2001}):
        assert said(page, fields) == 400
    assert said(page, {}) == 204


def said(page: Page, fields: dict[str, str]) -> int:
    """Send the form of the page with other fields than it would."""
    status: int = page.evaluate(
        """async (fields) => {
            const body = new FormData(form);
            body.set("text", "hello");
            Object.entries(fields).forEach(([name, value]) => body.set(name, value));
            const headers = { Accept: "application/json" };
            return (await fetch(form.action, { method: "POST", body, headers })).status;
        }""",
        fields,
    )
    return status


def test_the_form_works_without_javascript(window: Window, chromium: Any, site: Demo) -> None:
    bob = window("bob")
    with windows(chromium) as new:
        plain = new(java_script_enabled=False)
        plain.goto(site.url)
        log_in(plain, "alice")
        say(plain, "no script here", "everybody")
        expect(plain.locator("#user")).to_have_text("alice")
    shows_only(bob, "no script here")


def test_the_pages_fit_a_phone(window: Window) -> None:
    page = window("bob")
    say(page, "a long line " * 40, "everybody")
    for width in (320, 390):
        page.set_viewport_size({"width": width, "height": 640})
        assert page.evaluate("document.documentElement.scrollWidth") == width
    picture(page, "flask-narrow")
