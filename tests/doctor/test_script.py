"""The script of the browser client: found, missing, or not called JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ..servers.support import HOST, Site
from .conftest import Seen
from .script import Act, look, say, websocket

pytestmark = pytest.mark.servers

Doctor = Callable[..., Seen]
Play = Callable[..., int]

BEFORE = (look, *[websocket()] * 4)
"""What the doctor asks for before it looks for the script."""


def script(kind: str, body: str = "class WSRedis {}", status: str = "200 OK") -> Act:
    """Answer with a file."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{kind}\r\n"
    return say(head.encode() + b"\r\n" + body.encode())


JAVASCRIPT = "Content-Type: text/javascript; charset=utf-8"


@pytest.fixture
def at(play: Play, doctor: Doctor) -> Callable[..., Seen]:
    """Give a function that shows the doctor a site whose script is as described."""

    def look_at(*acts: Act, path: str = "") -> Seen:
        return doctor(play(*BEFORE, *acts), *(("--script", path) if path else ()))

    return look_at


def test_it_is_where_it_is_said_to_be(at: Any) -> None:
    seen = at(script(JAVASCRIPT), path="/assets/ws.js")
    assert seen.fault is None
    assert seen.steps["script"] == "the browser client is at /assets/ws.js"


@pytest.mark.parametrize(
    "answer",
    [
        script(JAVASCRIPT, "not here", "404 Not Found"),
        script("Content-Type: text/html", "<h1>Welcome</h1>"),
        script(JAVASCRIPT, "jQuery()"),
        say(b""),
    ],
    ids=["404", "a-page", "another-script", "nothing"],
)
def test_it_is_not_where_pages_load_it(at: Any, answer: Act) -> None:
    seen = at(answer, path="/assets/ws.js")
    assert (seen.fault, seen.last) == ("no-script", ("script", False))
    assert seen.steps["script"].startswith("/assets/ws.js: ")
    assert seen.lines.startswith("WebSocketMiddleware(app, serve_client=True)\n")
    assert "collectstatic" in seen.lines


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("Content-Type: text/plain", "text/plain"),
        ("X-None: 1", "(none)"),
        ("Content-Type: text/plain\r\nServer: nginx/1.2", "text/plain"),
    ],
)
def test_a_module_is_served_as_plain_text(at: Any, header: str, kind: str) -> None:
    seen = at(script(header), path="/static/x.mjs")
    assert seen.fault == "script-type"
    assert seen.steps["script"].endswith(f"with the content type {kind}")
    assert "types { text/javascript js mjs; }" in seen.lines


def test_without_a_path_it_is_found_below_the_prefix(start: Any, doctor: Doctor) -> None:
    seen = doctor(start("pywsgi", serve_client=True, ping_interval=300).port)
    assert seen.steps["script"] == "the browser client is at /ws/wsredis.js"
    assert not seen.skipped


def test_without_a_path_a_missing_script_is_explained_and_no_fault(
    site: Site, doctor: Doctor
) -> None:
    seen = doctor(site.port)
    assert (seen.fault, seen.skipped) == (None, {"script"})
    text = seen.steps["script"]
    assert "/static/wsredis/wsredis.js, /_wsredis/wsredis.js, /ws/wsredis.js" in text
    assert "collectstatic" in text


@pytest.mark.parametrize("path", ["static/x.js", "//other/x.js", "/a b", "/\u00fc", ""])
def test_what_is_no_path_is_refused(path: str, doctor: Doctor, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        doctor(f"ws://{HOST}/ws/", "--script", path)
    assert "is not a path" in capsys.readouterr().err
