"""A chat in plain WSGI: a page, a websocket, and a view that publishes.

Run it with ``wsredis demo``, or with any server in the README as
``wsredis.examples.plain_wsgi.app:application``.
"""

from __future__ import annotations

import html
import json
import os
import time
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any, ClassVar
from urllib.parse import parse_qs

from wsredis import Publisher, PubSubEndpoint, WebSocketMiddleware

MAX_FORM = 16 * 1024  # bytes

HERE = files("wsredis.examples.plain_wsgi")
SHARED = files("wsredis.examples") / "static"
FILES = {
    "/chats.css": (SHARED / "chats.css", "text/css"),
    "/chats.js": (SHARED / "chats.js", "text/javascript"),
    "/chat.css": (HERE / "chat.css", "text/css"),
    "/chat.js": (HERE / "chat.js", "text/javascript"),
    "/static/wsredis/wsredis.js": (
        files("wsredis") / "static/wsredis/wsredis.js",
        "text/javascript",
    ),
}


class ChatEndpoint(PubSubEndpoint):
    """An endpoint that also publishes the number of open websockets.

    It counts those of one process: run the chat with a single process.
    """

    here: ClassVar[set[Any]] = set()

    def opened(self, connection: Any) -> None:
        self.here.add(connection)
        self._tell(connection)

    def closed(self, connection: Any, code: int) -> None:
        self.here.discard(connection)
        self._tell(connection)

    def _tell(self, connection: Any) -> None:
        for channel in self.channels:
            connection.publish([channel], json.dumps({"here": len(self.here)}))


def allowed_channels(request: Any, requested: tuple[str, ...]) -> list[str]:
    """Let all clients subscribe and publish in the chat, and nowhere else."""
    if request.path_info != "/ws/chat":
        return []
    return [key for key in requested if key.endswith("-broadcast")]


def pages(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer all requests that are not websockets."""
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if path == "/say" and method == "POST":
        return say(environ, start_response)
    if path == "/":
        return reply(start_response, "200 OK", "text/html", page())
    if path == "/favicon.ico":
        return reply(start_response, "204 No Content", "image/x-icon", b"")
    if path in FILES:
        file, kind = FILES[path]
        return reply(start_response, "200 OK", kind, file.read_bytes())
    return reply(start_response, "404 Not Found", "text/plain", b"There is no such page.\n")


def page() -> bytes:
    """Return the page, with the command that publishes from a terminal."""
    text = (HERE / "chat.html").read_text(encoding="utf-8")
    plain = 'wsredis publish chat "hello" --broadcast'
    return text.replace(plain, html.escape(os.environ.get("WSREDIS_DEMO_HINT", plain))).encode()


def say(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Publish the message of a form or of JSON; any view can do that."""
    try:
        size = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        size = 0
    if not 0 < size <= MAX_FORM:
        return reply(start_response, "400 Bad Request", "text/plain", b"Send a text.\n")
    body = environ["wsgi.input"].read(size).decode("utf-8", "replace")
    if environ.get("CONTENT_TYPE", "").startswith("application/json"):
        try:
            fields = {str(key): str(value) for key, value in json.loads(body).items()}
        except (ValueError, AttributeError):
            return reply(start_response, "400 Bad Request", "text/plain", b"Send an object.\n")
    else:
        fields = {key: values[0] for key, values in parse_qs(body).items()}
    if not fields.get("text"):
        return reply(start_response, "400 Bad Request", "text/plain", b"Send a text.\n")
    message = {
        "from": fields.get("from") or "somebody",
        "text": fields["text"],
        "at": int(time.time() * 1000),
    }
    Publisher("chat", broadcast=True).publish(message)
    return reply(start_response, "303 See Other", "text/plain", b"", [("Location", "/")])


def reply(
    start_response: Callable[..., Any],
    status: str,
    kind: str,
    body: bytes,
    headers: Iterable[tuple[str, str]] = (),
) -> Iterable[bytes]:
    """Send a response."""
    start_response(
        status,
        [
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", "default-src 'self'"),
            ("Cache-Control", "no-cache"),
            *headers,
        ],
    )
    return [body]


application = WebSocketMiddleware(
    pages,
    allowed_channels=allowed_channels,
    endpoint=ChatEndpoint,
    max_message_size=MAX_FORM,
)
