"""A site whose identities end: by time, by a revocation, or before they are known.

``X-User``, ``X-Groups`` and ``X-Session`` set the identity and ``X-Expires`` its expiry (Unix
time). ``X-Hold`` makes the resolver create a file of that name when it is called, and wait
for a second file, with ``-go`` after the name, for at most a minute. With a secret, tickets are
accepted, too.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import gevent

from wsredis import Identity, WebSocketMiddleware, disconnect
from wsredis.identity import chain
from wsredis.runtime.loop import in_gevent
from wsredis.tickets import TicketResolver

logging.basicConfig(
    level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"
)

FOLDER = Path(os.environ["XDG_RUNTIME_DIR"])
LONG = 60.0


def identify(request: Any) -> Identity:
    """Believe the headers of the test."""
    name, groups = request.headers.get("X-Hold"), request.headers.get("X-Groups", "")
    expires = request.headers.get("X-Expires")
    who = Identity(
        request.headers.get("X-User"),
        tuple(groups.split(",")) if groups else (),
        request.headers.get("X-Session"),
        float(expires) if expires else None,
    )
    if name:
        (FOLDER / name).touch()
        until = time.monotonic() + float(request.headers.get("X-Hold-For", LONG))
        while not (FOLDER / f"{name}-go").exists() and time.monotonic() < until:
            (gevent.sleep if in_gevent() else time.sleep)(0.01)
    return who


def pages(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer ``/stats``, ``POST /disconnect/USER`` and a page."""
    path = environ.get("PATH_INFO", "")
    if path == "/stats":
        body = json.dumps({**application.stats(), "pid": os.getpid()}).encode()
    elif path.startswith("/disconnect/") and environ["REQUEST_METHOD"] == "POST":
        body = str(disconnect(user=path.removeprefix("/disconnect/"))).encode()
    else:
        body = f"page {path}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


resolvers = [TicketResolver()] if "WSREDIS_SECRET" in os.environ else []

application = WebSocketMiddleware(
    pages,
    identity=chain(*resolvers, identify),
    allowed_channels=lambda request, requested: requested,
)
