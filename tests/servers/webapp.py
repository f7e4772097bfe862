"""The site that every server in these tests runs: pages beside websockets, identities by header.

``X-User``, ``X-Groups`` and ``X-Session`` stand for whatever a real site reads its sessions with.
"""

from __future__ import annotations

import json
import os
from typing import Any

from wsredis import Identity, Publisher, WebSocketMiddleware


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


def allowed_channels(request: Any, wishes: tuple[str, ...]) -> tuple[str, ...]:
    """Let everybody do everything, except in the facility ``readonly``."""
    if request.path_info.endswith("/readonly"):
        return tuple(wish for wish in wishes if wish.startswith("subscribe-"))
    return wishes


def pages(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer plain HTTP: ``/stats``, ``POST /publish`` and a page."""
    path = environ["PATH_INFO"]
    if path == "/stats":
        body = json.dumps({**application.stats(), "pid": os.getpid()}).encode()
    elif path == "/publish" and environ["REQUEST_METHOD"] == "POST":
        text = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
        body = str(Publisher("view", broadcast=True).publish(text)).encode()
    else:
        body = f"page {path}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = WebSocketMiddleware(pages, identity=identify, allowed_channels=allowed_channels)
