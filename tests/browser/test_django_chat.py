"""The chats in Django in a real browser: which user gets which messages, also after a logout.

The server is ``wsredis demo --django``: uWSGI, an embedded Redis, a newly created database.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .demo import RETURNS, Demo, connected, picture, shows_only, windows

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def site() -> Iterator[Demo]:
    Demo("django", "hall").stop()  # the first of two in a row
    site = Demo("django", "hall")
    yield site
    site.stop()


@pytest.fixture(scope="module")
def logins(site: Demo) -> dict[str, Any]:
    """Give the cookies of those who have logged in: hashing their passwords again takes long."""
    return {}


@pytest.fixture
def window(
    chromium: Any, excused: list[str], site: Demo, logins: dict[str, Any]
) -> Iterator[Callable[..., Page]]:
    """Give a function that opens a browser with a memory of its own, logged in as somebody.

    It takes a session that there is already, unless it is to be a ``fresh`` one.
    """
    site.forget()
    with windows(chromium, excused) as new:

        def open_window(name: str = "", at: str = "/", fresh: bool = False, **options: Any) -> Page:
            if name and not fresh:
                options["storage_state"] = logins.get(name)
            page = new(**options)
            if name and options.get("storage_state") is None:
                log_in(page, site, name, at)
                if not fresh:
                    logins[name] = page.context.storage_state()
            else:
                page.goto(site.url + at)
                if name and at != "/":
                    connected(page)
            return page

        yield open_window


def log_in(page: Page, site: Demo, name: str, at: str = "/") -> None:
    page.goto(f"{site.url}/login/?next={at}")
    page.fill("#id_username", name)
    page.fill("#id_password", "secret")
    page.click(".login button")
    expect(page.locator("#user")).to_have_text(name)
    if at != "/":
        connected(page)


def say(page: Page, text: str, to: str = "") -> None:
    if to:
        page.select_option("#id_to", to)
    page.fill("#text", text)
    page.click("#send")


def shows(page: Page, text: str) -> None:
    expect(page.locator("#messages")).to_contain_text(text)


def test_the_demo_says_who_one_can_be(site: Demo, window: Callable[..., Page]) -> None:
    assert f"{site.url}/" in site.said
    assert all(name in site.said for name in ("admin", "john", "mary", "secret"))
    page = window()
    expect(page.locator(".people")).to_contain_text("mary")
    picture(page, "django-index")


def test_everybody_reads_what_members_say(site: Demo, window: Callable[..., Page]) -> None:
    john, mary, guest = window("john", "/hall/"), window("mary", "/hall/"), window(at="/hall/")
    connected(guest)
    say(john, "hello all <b>of you</b>")
    for page in (john, mary, guest):
        shows(page, "hello all <b>of you</b>")
    expect(john.locator(".own .text")).to_have_count(1)
    expect(mary.locator(".other .from")).to_have_text("john")
    assert guest.locator("#text").count() == 0
    site.publish("from a terminal")
    for page in (john, mary, guest):
        shows(page, "from a terminal")
    say(mary, "hello john")
    shows(john, "hello john")
    picture(john, "django-hall")
    picture(guest, "django-hall-guest")

    mary.reload()  # the last message has been kept
    connected(mary)
    shows_only(mary, "hello john")


def test_the_server_says_who_speaks_and_nobody_else_speaks(window: Callable[..., Page]) -> None:
    john, guest = window("john", "/hall/"), window(at="/hall/")
    connected(guest)
    john.evaluate("""sockets.values().next().value.send('{"from": "mary"}')""")
    expect(guest.locator(".text").last).to_have_text('{"from": "mary"}')
    expect(guest.locator(".from").last).to_have_text("john")
    guest.evaluate("sockets.values().next().value.send('I am nobody')")
    expect(guest.locator("#state")).to_have_attribute("data-state", "closed")
    expect(john.locator(".text").last).to_have_text('{"from": "mary"}')


def test_a_letter_reaches_its_reader_only(window: Callable[..., Page]) -> None:
    john, mary, admin = (window(name, "/letters/") for name in ("john", "mary", "admin"))
    phone = window("mary", "/letters/", color_scheme="dark")
    say(john, "for mary's eyes", to="mary")
    for page in (mary, phone, john):
        shows_only(page, "for mary's eyes")
    say(mary, "hello admin", to="admin")
    shows_only(admin, "hello admin")  # what came before it would stand above it
    say(phone, "thank you", to="john")
    shows_only(john, "for mary's eyes", "thank you")
    shows_only(mary, "for mary's eyes", "hello admin", "thank you")
    picture(mary, "django-letters")
    picture(phone, "django-letters-dark")

    john.reload()
    connected(john)
    shows_only(john, "thank you")


def test_members_of_a_group_only(window: Callable[..., Page]) -> None:
    john, mary, admin = (window(name, "/groups/") for name in ("john", "mary", "admin"))
    say(mary, "the roses bloom", to="gardeners")
    shows_only(admin, "the roses bloom")
    say(john, "page two is done", to="editors")
    shows_only(mary, "the roses bloom", "page two is done")
    shows_only(john, "page two is done")
    assert john.locator("#id_to option").all_text_contents() == ["editors"]
    say(admin, "and the lilies", to="gardeners")
    shows_only(admin, "the roses bloom", "and the lilies")
    shows_only(mary, "the roses bloom", "page two is done", "and the lilies")
    picture(mary, "django-groups")


def test_the_echo_finds_the_user_or_only_the_session(window: Callable[..., Page]) -> None:
    desk, phone = window("john", "/echo/"), window("john", "/echo/", fresh=True)
    mary = window("mary", "/echo/")
    desk.check("[value=session]")
    say(desk, "for this browser")
    shows_only(desk, "for this browser")
    desk.check("[value=user]")
    say(desk, "for all of mine")
    shows_only(desk, "for this browser", "for all of mine")
    shows_only(phone, "for all of mine")
    say(mary, "hers")
    shows_only(mary, "hers")
    picture(desk, "django-echo")

    guest, other = window(at="/echo/"), window(at="/echo/")
    for page in (guest, other):
        connected(page)
    say(other, "second")
    shows_only(other, "second")
    say(guest, "first")
    shows_only(guest, "first")


def test_a_logout_ends_the_channels_of_the_user_in_every_tab(
    window: Callable[..., Page], excused: list[str]
) -> None:
    excused.extend(RETURNS)
    first = window("john", "/echo/", fresh=True)
    second = first.context.new_page()
    second.goto(first.url)
    connected(second)
    away = window("john", "/echo/")
    say(away, "before")
    for page in (first, second, away):
        shows_only(page, "before")

    first.click("#logout")
    expect(first.locator("#login")).to_be_visible()
    expect(second.locator("#login")).to_be_visible()
    expect(second.locator("#messages .text")).to_have_count(0)
    connected(second)
    say(away, "after")  # another browser, whose login has not ended
    shows_only(away, "before", "after")
    say(second, "only here")
    shows_only(second, "only here")

    first.goto(first.url.rstrip("/") + "/letters/")
    expect(first).to_have_url(re.compile("/login/"))
    picture(first, "django-login")


def test_the_admin_adds_to_a_group_and_logs_out_to_us(window: Callable[..., Page]) -> None:
    page = window("admin", fresh=True)
    page.click("text=Admin")
    expect(page.locator("#user-tools")).to_contain_text("Alex")
    page.click("#logout-form button")
    expect(page.locator("#login")).to_be_visible()


def test_the_forms_work_without_javascript(window: Callable[..., Page]) -> None:
    mary = window("mary", "/hall/")
    plain = window(java_script_enabled=False)
    plain.click("#login")
    plain.fill("#id_username", "john")
    plain.fill("#id_password", "secret")
    plain.click(".login button")
    plain.click("nav >> text=Everybody")
    say(plain, "no script here")
    shows(mary, "no script here")
    assert plain.url.endswith("/hall/")


def test_wrong_input_gets_a_sentence(window: Callable[..., Page]) -> None:
    page = window("john", "/letters/")
    for to, text in (("nobody", "hello"), ("john", "hello"), ("mary", " "), ("mary", "x" * 2001)):
        status, body = post(page, {"to": to, "text": text}, "application/json")
        assert (status, json.loads(body)["error"][-1]) == (400, ".")
        status, body = post(page, {"to": to, "text": text}, "text/html")
        assert (status, "<h1>One person</h1>" in body) == (400, True)
    assert post(page, {"csrfmiddlewaretoken": "forged"}, "text/html")[0] == 403


def post(page: Page, fields: dict[str, str], accept: str) -> tuple[int, str]:
    """Send the form of the page with other fields than it would."""
    status, body = page.evaluate(
        """async ([fields, Accept]) => {
            const body = new FormData(form);
            Object.entries(fields).forEach(([name, value]) => body.set(name, value));
            const answer = await fetch(form.action, { method: "POST", body, headers: { Accept } });
            return [answer.status, await answer.text()];
        }""",
        [fields, accept],
    )
    return status, body


def test_the_pages_fit_a_phone(window: Callable[..., Page]) -> None:
    page = window("mary", "/letters/")
    for width in (320, 390):
        page.set_viewport_size({"width": width, "height": 640})
        assert page.evaluate("document.documentElement.scrollWidth") == width
    picture(page, "django-letters-narrow")
