"""A site to try a deployment with: a page, a view that publishes, and websockets.

Replace it with your own site, which needs only the last line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wsredis import Publisher, WebSocketMiddleware


def allowed_channels(request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
    """Let all clients read and write; your site will be stricter."""
    return requested


def pages(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with a page; publish the text that is posted to it."""
    facility = environ["PATH_INFO"].strip("/")
    if environ["REQUEST_METHOD"] == "POST":
        text = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
        Publisher(facility, broadcast=True).publish(text)
    status = "404 Not Found" if facility.startswith("static/") else "200 OK"
    body = f"the page {facility}\n".encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = WebSocketMiddleware(pages, allowed_channels=allowed_channels)
