"""A chat with htmx: a view publishes HTML, and htmx puts it into the pages.

Start it with any server in the README as ``wsredis.examples.htmx_chat.app:application``. The page
loads htmx from a CDN.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from wsredis import Publisher, WebSocketMiddleware

MAX_FORM = 16 * 1024  # bytes

HERE = files("wsredis.examples.htmx_chat")
CLIENT = files("wsredis") / "static/wsredis"
FILES = {
    "/chat.css": (HERE / "chat.css", "text/css"),
    "/chats.css": (files("wsredis.examples") / "static/chats.css", "text/css"),
    "/static/wsredis/wsredis.js": (CLIENT / "wsredis.js", "text/javascript"),
    "/static/wsredis/wsredis.htmx.js": (CLIENT / "wsredis.htmx.js", "text/javascript"),
}

MESSAGE = """
<li class="message other">
  <span class="avatar" aria-hidden="true">{initial}</span>
  <div class="meta"><span class="from">{name}</span></div>
  <div class="text">{text}</div>
</li>
"""

FIELD = (
    '<input id="text" name="text" maxlength="2000" required aria-label="Message"'
    ' placeholder="Write a message" autocomplete="off">'
)
"""The field for a message, which the answer to the form replaces with an empty one."""


def pages(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer all requests that are not websockets."""
    path = environ["PATH_INFO"]
    if path == "/say" and environ["REQUEST_METHOD"] == "POST":
        return say(environ, start_response)
    if path == "/":
        page = (HERE / "chat.html").read_text(encoding="utf-8").replace("<!-- field -->", FIELD)
        return reply(start_response, "200 OK", "text/html", page.encode())
    if path in FILES:
        file, kind = FILES[path]
        return reply(start_response, "200 OK", kind, file.read_bytes())
    return reply(start_response, "404 Not Found", "text/plain", b"There is no such page.\n")


def say(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Publish the message of a form as HTML, in which the words of users are escaped."""
    try:
        size = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        size = 0
    if not 0 < size <= MAX_FORM:
        return reply(start_response, "400 Bad Request", "text/plain", b"Send a text.\n")
    form = parse_qs(environ["wsgi.input"].read(size).decode("utf-8", "replace"))
    text = form.get("text", [""])[0].strip()
    name = form.get("from", [""])[0].strip() or "guest"
    if not text:
        return reply(start_response, "400 Bad Request", "text/plain", b"Send a text.\n")
    values = {"initial": name[0].upper(), "name": name, "text": text}
    escaped = {key: html.escape(value) for key, value in values.items()}
    Publisher("chat", broadcast=True).publish(MESSAGE.format(**escaped))
    return reply(start_response, "200 OK", "text/html", FIELD.encode())


def reply(
    start_response: Callable[..., Any], status: str, kind: str, body: bytes
) -> Iterable[bytes]:
    """Send a response."""
    policy = "default-src 'self'; script-src 'self' https://unpkg.com"
    start_response(
        status,
        [
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", policy),
        ],
    )
    return [body]


# By default no client may publish, so that all HTML comes from the view.
application = WebSocketMiddleware(pages)
