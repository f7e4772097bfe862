"""The chat of the demo in a real browser: two users, a restart of the server, a screenshot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from wsredis import Config, Publisher
from wsredis.embedded import EmbeddedRedis, free_port

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


class Chat:
    """The chat under uWSGI on one port, to be stopped and started again."""

    def __init__(self, redis: str, folder: Path, *options: str) -> None:
        self.folder = folder  # an empty one: uWSGI takes modules from where it starts
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.redis = redis
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(str(Path(sys.executable).parent / "uwsgi"), "--master", "--die-on-term"),
                *("--http-socket", f"127.0.0.1:{self.port}", "--gevent", "50", "--need-app"),
                *("--module", "wsredis.examples.plain_wsgi.app:application", "--disable-logging"),
                *self.options,
            ],
            cwd=self.folder,
            env={**os.environ, "WSREDIS_REDIS": self.redis},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None


@pytest.fixture(scope="module")
def redis() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def chat(redis: EmbeddedRedis, tmp_path: Path) -> Iterator[Chat]:
    chat = Chat(redis.url, tmp_path)
    chat.start()
    yield chat
    chat.stop()


def visit(chromium: Any, chat: Chat, name: str) -> Page:
    """Open the chat as somebody, in a window with a memory of its own."""
    page: Page = chromium.new_context(viewport={"width": 900, "height": 640}).new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page threw {error}"))
    for _ in range(100):
        try:
            page.goto(chat.url)
            break
        except Exception:  # not up yet
            page.wait_for_timeout(50)
    page.fill("#me", name)
    page.locator("#me").blur()
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    return page


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.click("#send")


def test_two_people_chat_and_come_back_after_a_restart(
    chromium: Any, chat: Chat, tmp_path: Path
) -> None:
    alice, bob = visit(chromium, chat, "alice"), visit(chromium, chat, "bob")
    expect(alice.locator("#here")).to_contain_text("2")

    say(alice, "hello bob")
    expect(bob.locator("#messages")).to_contain_text("hello bob")
    say(bob, "hello alice")
    expect(alice.locator("#messages")).to_contain_text("hello alice")
    expect(alice.locator("#messages .own:not(.waiting)")).to_have_count(1)

    Publisher("chat", broadcast=True, config=Config(redis=chat.redis)).publish("from a job")
    for page in (alice, bob):
        expect(page.locator("#messages")).to_contain_text("from a job")

    chat.stop()
    for page in (alice, bob):
        expect(page.locator("#state")).to_have_attribute("data-state", "reconnecting")
    alice.screenshot(path=tmp_path / "reconnecting.png")
    chat.start()
    for page in (alice, bob):
        expect(page.locator("#state")).to_have_attribute("data-state", "open", timeout=20_000)
    expect(bob.locator("#here")).to_contain_text("2")
    say(bob, "we are back")
    expect(alice.locator("#messages")).to_contain_text("we are back")

    picture = tmp_path / "chat.png"
    alice.screenshot(path=picture)
    assert picture.stat().st_size > 10_000
    if folder := os.environ.get("SCREENSHOTS"):
        shutil.copytree(tmp_path, folder, dirs_exist_ok=True)


def test_what_others_say_is_text_and_never_markup(chromium: Any, chat: Chat) -> None:
    alice, bob = visit(chromium, chat, "alice"), visit(chromium, chat, "bob")
    say(bob, "<img src=x onerror=document.title='taken'><b>bold</b>")
    expect(alice.locator("#messages")).to_contain_text("<b>bold</b>")
    assert alice.locator("#messages img").count() == 0
    assert alice.title() == "wsredis chat"
    say(alice, "")
    assert alice.locator("#messages .own").count() == 0


def test_a_form_without_javascript_publishes_too(chromium: Any, chat: Chat) -> None:
    alice = visit(chromium, chat, "alice")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(chat.url)
    page.fill("#me", "bob")
    page.fill("#text", "no script here")
    page.click("#send")
    expect(alice.locator("#messages")).to_contain_text("no script here")
    assert page.url == chat.url


def test_the_modules_give_one_client(chromium: Any, chat: Chat) -> None:
    page = visit(chromium, chat, "alice")
    page.route("**/static/wsredis/wsredis.*js", serve_module)
    same = page.evaluate(
        """async () => {
            const modules = ["wsredis.esm.js", "wsredis.mjs"].map((name) =>
                import(`/static/wsredis/${name}`),
            );
            const [one, other] = await Promise.all(modules);
            const all = [one.WSRedis, one.default, other.WSRedis, other.default];
            return new Set(all).size === 1 && one.WSRedis.name === globalThis.WSRedis.name;
        }"""
    )
    assert same


def serve_module(route: Any) -> None:
    import wsredis

    name = route.request.url.rpartition("/")[2]
    file = Path(str(wsredis.__file__)).parent / "static/wsredis" / name
    route.fulfill(body=file.read_text(), content_type="text/javascript")
