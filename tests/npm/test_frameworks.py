"""The hook for React and the extension for htmx, and their examples, in Chromium."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocket, expect

from wsredis.embedded import EmbeddedRedis

from ..browser.test_chat import Chat as PlainChat
from ..examples.support import Chat
from ..gate import Gate
from .conftest import Node

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("npm")]

EXAMPLES = Path(__file__).parents[2] / "examples"
URI = "/ws/news?subscribe-broadcast"


@contextmanager
def window(chromium: Any) -> Iterator[Page]:
    """Open a window in which no error may occur."""
    context = chromium.new_context(viewport={"width": 900, "height": 640})
    page: Page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    yield page
    context.close()
    assert not troubles


def picture(page: Page, name: str) -> None:
    """Keep a screenshot in the folder SCREENSHOTS, if there is one."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder, f"{name}.png"))


# React


@pytest.fixture(scope="session")
def hook(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("hook") / "hook.js"
    node("hook.mjs", file)
    return file


@pytest.fixture
def probe(gate: Callable[..., Gate], hook: Path, chromium: Any) -> Iterator[tuple[Page, Gate]]:
    """Give a page with the hook, and its site."""
    site = gate(allowed_channels=lambda request, requested: requested)
    with window(chromium) as page:
        page.goto(f"http://127.0.0.1:{site.port}/")
        page.add_script_tag(path=hook, type="module")
        page.wait_for_function("typeof globalThis.render === 'function'")
        yield page, site


def shows(page: Page, state: str, data: object = None) -> None:
    expect(page.locator("output")).to_have_text(json.dumps([state, data], separators=(",", ":")))


threads = pytest.mark.parametrize("gate", ["threads"], indirect=True)


@threads
def test_the_hook_gives_state_and_the_last_message(probe: tuple[Page, Gate]) -> None:
    page, site = probe
    page.evaluate(f"render('{URI}', {{ json: true }})")
    shows(page, "open")
    site.publisher().publish({"id": 7})
    shows(page, "open", {"id": 7})
    page.evaluate("render('/ws/sport?subscribe-broadcast', { json: true })")
    shows(page, "open")  # another websocket, so the message of the first one is gone
    site.publisher("sport").publish({"id": 8})
    shows(page, "open", {"id": 8})
    page.evaluate("render(null)")
    shows(page, "closed")


@threads
def test_listeners_may_change_and_render_nothing(probe: tuple[Page, Gate]) -> None:
    page, site = probe
    page.evaluate("globalThis.got = []")
    page.evaluate(f"render('{URI}', {{ onMessage: (data) => got.push('one ' + data) }})")
    shows(page, "open")
    site.publisher().publish("hello")
    page.wait_for_function("got.length === 1")
    page.evaluate(f"render('{URI}', {{ second: 1, onMessage: (data) => got.push('two ' + data) }})")
    page.wait_for_function("globalThis.committed?.second === 1")
    page.evaluate("globalThis.renderings = 0")
    site.publisher().publish("hello")
    page.wait_for_function("got.length === 2")
    assert page.evaluate("[got, renderings]") == [["one hello", "two hello"], 0]
    shows(page, "open")


@threads
def test_the_hook_sends_and_closes_with_its_component(probe: tuple[Page, Gate]) -> None:
    page, _ = probe
    sockets: list[WebSocket] = []
    page.on("websocket", lambda opened: sockets.append(opened))
    uri = f"{URI}&publish-broadcast&echo"
    page.evaluate(f"render('{uri}', {{ json: true }})")
    shows(page, "open")
    page.evaluate("connection.sendJSON({ id: 9 })")
    shows(page, "open", {"id": 9})
    page.evaluate("connection.send('[1]')")
    shows(page, "open", [1])
    page.evaluate("unmount()")
    for opened in sockets:  # StrictMode has mounted the component twice
        if not opened.is_closed():
            opened.wait_for_event("close")
    with pytest.raises(Exception, match="useWSRedis has no websocket"):
        page.evaluate("connection.send('late')")


@threads
@pytest.mark.parametrize("listens", [False, True])
def test_a_message_that_is_not_json_is_an_error(probe: tuple[Page, Gate], listens: bool) -> None:
    page, site = probe
    page.evaluate(
        "globalThis.errors = [];"
        " globalThis.reportError = (error) => errors.push('reported ' + error.name); null"
    )
    listener = "onError: (error) => errors.push('heard ' + error.name)" if listens else ""
    page.evaluate(f"render('{URI}', {{ json: true, {listener} }})")
    shows(page, "open")
    site.publisher().publish("{")
    site.publisher().publish("1")
    shows(page, "open", 1)
    assert page.evaluate("errors") == [f"{'heard' if listens else 'reported'} SyntaxError"]


@threads
def test_functions_are_those_of_the_latest_rendering(probe: tuple[Page, Gate]) -> None:
    page, _ = probe
    page.evaluate("globalThis.asked = []")
    options = "{ minDelay: 1, maxDelay: 10, protocols: () => { asked.push(%s); throw Error(); } }"
    for number in (1, 2):
        page.evaluate(f"render('{URI}', {options % number})")
        page.wait_for_function(f"asked.includes({number})")
    page.evaluate("unmount()")


@pytest.fixture(scope="session")
def react_chat(app: Path, packages: Path, node: Node) -> Path:
    """Build the example in React; return the folder of the page."""
    folder = app / "react_chat"
    shutil.copytree(EXAMPLES / "react_chat", folder)
    node(packages / "vite" / "bin" / "vite.js", "build", folder, "--base", "/react/")
    return folder / "dist"


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def test_the_example_in_react(
    react_chat: Path,
    chromium: Any,
    redis_server: EmbeddedRedis,
    tmp_path: Path,
    eventually: Callable[[Callable[[], object]], None],
) -> None:
    chat = PlainChat(redis_server.url, tmp_path, "--static-map", f"/react={react_chat}")

    def visit(page: Page) -> None:
        page.goto(f"{chat.url}react/index.html")
        expect(page.locator("#state")).to_have_attribute("data-state", "open")

    def say(page: Page, name: str, text: str) -> None:
        page.get_by_label("Your name").fill(name)
        page.get_by_label("Message").fill(text)
        page.get_by_role("button").click()

    try:
        chat.start()
        eventually(lambda: answers(chat.port))
        with window(chromium) as alice, window(chromium) as bob:
            visit(alice)
            visit(bob)
            say(alice, "alice", "hello <b>bob</b>")
            expect(bob.locator("#messages")).to_contain_text("hello <b>bob</b>")
            chat.stop()
            expect(bob.locator("#state")).to_have_text("reconnecting")
            chat.start()
            for page in (alice, bob):
                expect(page.locator("#state")).to_have_text("connected")
            say(bob, "bob", "we are back")
            expect(alice.locator("#messages")).to_contain_text("we are back")
            picture(alice, "react")
    finally:
        chat.stop()


# htmx


@pytest.fixture(params=["htmx.org", "htmx.org-2"])
def htmx(request: pytest.FixtureRequest, packages: Path) -> Path:
    """Return the script of htmx, the newest and that of version 2."""
    return packages / str(request.param) / "dist" / "htmx.min.js"


@pytest.fixture
def htmx_chat(redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Chat]:
    chat = Chat("gunicorn", "htmx_chat", tmp_path, redis_server.url)
    try:
        chat.start()
        yield chat
    finally:
        chat.stop()


COUNT = """
let opens = 0;
addEventListener("wsredis:open", () => (document.documentElement.dataset.opens = opens += 1));
"""
"""A script that counts the openings in an attribute of the page."""


def visit_htmx(page: Page, htmx: Path, chat: Chat) -> WebSocket:
    """Open the chat and wait for its websocket."""
    page.route("https://unpkg.com/**", lambda route: route.fulfill(path=htmx))
    page.add_init_script(COUNT)
    with page.expect_websocket() as opened:
        page.goto(chat.origin)
    has_opened(page, 1)
    return opened.value


def has_opened(page: Page, times: int) -> None:
    """Wait until the page has opened so many websockets."""
    expect(page.locator("html")).to_have_attribute("data-opens", str(times))


def say_htmx(page: Page, name: str, text: str) -> None:
    """Send a message and wait for the answer, an empty field."""
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Message").fill(text)
    page.get_by_role("button").click()
    expect(page.get_by_label("Message")).to_have_value("")


def test_the_example_with_htmx(chromium: Any, htmx: Path, htmx_chat: Chat) -> None:
    with window(chromium) as alice, window(chromium) as bob:
        visit_htmx(alice, htmx, htmx_chat)
        visit_htmx(bob, htmx, htmx_chat)
        say_htmx(alice, "alice", "hello <b>bob</b>")
        expect(bob.locator("#messages .text")).to_have_text(["hello <b>bob</b>"])
        say_htmx(bob, "bob", "hello alice")
        expect(alice.locator("#messages .text")).to_have_text(["hello <b>bob</b>", "hello alice"])
        assert bob.locator("#messages b").count() == 0
        picture(alice, htmx.parents[1].name)
        htmx_chat.reload()
        has_opened(bob, 2)
        say_htmx(bob, "bob", "we are back")
        expect(bob.locator("#messages .text")).to_contain_text(["we are back"])


def test_the_websocket_ends_with_its_element(chromium: Any, htmx: Path, htmx_chat: Chat) -> None:
    with window(chromium) as page:
        first = visit_htmx(page, htmx, htmx_chat)
        replace = "htmx.ajax('GET', '/', { target: '#messages', swap: 'outerHTML' })"
        with page.expect_websocket() as opened:
            page.evaluate(f"void {replace}")
        if not first.is_closed():
            first.wait_for_event("close")
        assert not opened.value.is_closed()


def test_a_listener_may_keep_a_message_out_of_the_page(
    chromium: Any, htmx: Path, htmx_chat: Chat
) -> None:
    with window(chromium) as page:
        visit_htmx(page, htmx, htmx_chat)
        page.evaluate(
            """() => document.addEventListener("wsredis:message", (event) => {
                if (event.detail.includes("secret")) event.preventDefault();
            })"""
        )
        say_htmx(page, "alice", "a secret")
        say_htmx(page, "alice", "hello")
        expect(page.locator("#messages .text")).to_have_text(["hello"])


def test_an_extension_that_is_registered_late_finds_the_elements(
    chromium: Any, htmx: Path, htmx_chat: Chat
) -> None:
    with window(chromium) as page:
        page.route("**/wsredis.htmx.js", lambda route: route.fulfill(body=""))
        page.route("https://unpkg.com/**", lambda route: route.fulfill(path=htmx))
        page.goto(htmx_chat.origin)
        page.unroute("**/wsredis.htmx.js")
        with page.expect_websocket():
            page.add_script_tag(url="/static/wsredis/wsredis.htmx.js?late")


def test_untrusted_html_opens_nothing(chromium: Any, htmx: Path, htmx_chat: Chat) -> None:
    add = """(id, attribute) => {
        const region = document.body.appendChild(document.createElement("div"));
        if (attribute) region.setAttribute(attribute, "");
        const address = `/ws/${id}?subscribe-broadcast`;
        region.innerHTML = `<p hx-ext="wsredis" wsredis-connect="${address}"></p>`;
        htmx.process(document.body);
    }"""
    attribute = "hx-ignore" if htmx.parents[1].name == "htmx.org" else "hx-disable"
    with window(chromium) as page:
        visit_htmx(page, htmx, htmx_chat)
        opened: list[str] = []
        page.on("websocket", lambda each: opened.append(each.url))
        page.evaluate(f"({add})('untrusted', '{attribute}')")
        with page.expect_websocket():
            page.evaluate(f"({add})('trusted', '')")
        assert ["/ws/trusted?" in url for url in opened] == [True]


URLS = """
globalThis.urls = [];
globalThis.WebSocket = class extends WebSocket {
  constructor(url, protocols) {
    urls.push(new URL(url).pathname);
    super(url, protocols);
  }
};
"""
"""A script that lists the paths of the websockets that a page opens."""

EXTENDED = """
<div id="region" hx-ext="wsredis">
  <p hx-ext="ignore:wsredis" wsredis-connect="/ws/ignored?subscribe-broadcast"></p>
  <p wsredis-connect="/ws/inside?subscribe-broadcast"></p>
</div>
<p wsredis-connect="/ws/outside?subscribe-broadcast"></p>
"""


def visit_unregistered(page: Page, htmx: Path, chat: Chat) -> None:
    """Open the chat without the extension, which `register_late` adds."""
    page.add_init_script(URLS)
    page.route("https://unpkg.com/**", lambda route: route.fulfill(path=htmx))
    page.route("**/wsredis.htmx.js", lambda route: route.fulfill(body=""))
    page.goto(chat.origin)


def register_late(page: Page) -> None:
    page.add_script_tag(url="/static/wsredis/wsredis.htmx.js?late")


@pytest.mark.parametrize("late", [False, True])
def test_htmx_2_opens_nothing_without_hx_ext(
    chromium: Any, htmx: Path, htmx_chat: Chat, late: bool
) -> None:
    with window(chromium) as page:
        visit_unregistered(page, htmx, htmx_chat)
        if not late:
            register_late(page)
        page.evaluate("(html) => document.body.insertAdjacentHTML('beforeend', html)", EXTENDED)
        if late:
            register_late(page)
        else:
            page.evaluate("htmx.process(region); htmx.process(document.body)")
        two = ["/ws/chat", "/ws/inside"]
        four = ["/ws/chat", "/ws/ignored", "/ws/inside", "/ws/outside"]
        assert page.evaluate("urls") == (two if htmx.parents[1].name == "htmx.org-2" else four)


def test_an_extension_that_htmx_4_refuses_opens_nothing(
    chromium: Any, packages: Path, htmx_chat: Chat
) -> None:
    with window(chromium) as page:
        visit_unregistered(page, packages / "htmx.org" / "dist" / "htmx.min.js", htmx_chat)
        page.evaluate("htmx.registerExtension('wsredis', {})")
        register_late(page)
        assert page.evaluate("urls") == []


ERRORS = """(prevent) => {
    globalThis.failed = [];
    globalThis.reported = [];
    document.addEventListener("wsredis:error", (event) => {
        failed.push(event.detail.message);
        if (prevent) event.preventDefault();
    });
    addEventListener("error", (event) => {
        reported.push(event.error.message);
        event.preventDefault();
    });
}"""
"""A function that lists the events "wsredis:error" of a page and the errors reported to it."""


@pytest.mark.parametrize("prevent", [False, True])
def test_an_attribute_that_is_not_valid_stops_no_other_element(
    chromium: Any, htmx: Path, htmx_chat: Chat, prevent: bool
) -> None:
    with window(chromium) as page:
        visit_unregistered(page, htmx, htmx_chat)
        page.evaluate(ERRORS, prevent)
        bad = '<p hx-ext="wsredis" wsredis-connect=""></p>'
        page.evaluate("(html) => document.body.insertAdjacentHTML('afterbegin', html)", bad)
        register_late(page)
        assert page.evaluate("urls") == ["/ws/chat"]
        (message,) = page.evaluate("failed")
        assert "needs a uri" in message
        assert page.evaluate("reported") == ([] if prevent else [message])


@pytest.mark.parametrize("prevent", [False, True])
def test_a_failed_swap_is_an_error_and_the_next_message_is_swapped(
    chromium: Any, htmx: Path, htmx_chat: Chat, prevent: bool
) -> None:
    publish = "(text) => fetch('/say', { method: 'POST', body: new URLSearchParams({ text }) })"
    with window(chromium) as page:
        visit_htmx(page, htmx, htmx_chat)
        page.evaluate(ERRORS, prevent)
        page.evaluate(
            """() => {
                const { swap } = htmx;
                htmx.swap = () => {
                    htmx.swap = swap;
                    throw new Error("swap failed");
                };
            }"""
        )
        page.evaluate(publish, "one")
        page.evaluate(publish, "two")
        expect(page.locator("#messages .text")).to_have_text(["two"])
        assert page.evaluate("failed") == ["swap failed"]
        assert page.evaluate("reported") == ([] if prevent else ["swap failed"])
