"""The site of all servers in these tests: pages and websockets, identities by header.

``X-User``, ``X-Groups`` and ``X-Session`` replace the sessions of a real site.
``/text/`` has a second middleware: its websockets refuse binary messages and fail at others.
"""

from __future__ import annotations

import json
import logging
import os
import time
from typing import Any

from wsredis import Identity, Publisher, PubSubEndpoint, WebSocketMiddleware

logging.basicConfig(
    level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"
)


def identify(request: Any) -> Identity:
    """Believe the headers of the test."""
    if request.headers.get("X-Fail"):
        raise LookupError("the session store has a secret problem")
    groups = request.headers.get("X-Groups", "")
    return Identity(
        request.headers.get("X-User"),
        tuple(groups.split(",")) if groups else (),
        request.headers.get("X-Session"),
    )


def allowed_channels(request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
    """Let everybody do everything, except in the facility ``readonly``."""
    if request.path_info.endswith("/readonly"):
        return tuple(key for key in requested if key.startswith("subscribe-"))
    return requested


def pages(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer plain HTTP: ``/stats``, ``POST /publish/FACILITY``, ``/hang/SECONDS`` and a page."""
    path = environ.get("PATH_INFO", "")  # uWSGI has none for a request that is garbage
    if path == "/stats":
        body = json.dumps({**application.stats(), "pid": os.getpid()}).encode()
    elif path.startswith("/publish/") and environ["REQUEST_METHOD"] == "POST":
        text = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
        facility = path.removeprefix("/publish/")
        body = str(Publisher(facility, broadcast=True).publish(text)).encode()
    elif path.startswith("/hang/"):
        time.sleep(float(path.removeprefix("/hang/")))
        body = b"too late"
    else:
        body = f"page {path}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


class Failing(PubSubEndpoint):
    """An endpoint that fails at each message."""

    def received(self, connection: Any, message: str | bytes) -> None:
        raise LookupError("the session store has a secret problem")


application = WebSocketMiddleware(
    WebSocketMiddleware(pages, prefix="/text/", binary=False, endpoint=Failing),
    identity=identify,
    allowed_channels=allowed_channels,
)
