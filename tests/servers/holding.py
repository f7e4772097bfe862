"""A site whose endpoint blocks at each message, and whose handshakes block or wait if asked to."""

from __future__ import annotations

import logging
from typing import Any

import gevent
import gevent.monkey

from wsredis import PubSubEndpoint, WebSocketMiddleware

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")

block = gevent.monkey.get_original("time", "sleep")
"""What a database driver in C does, with or without monkey-patching."""


def identify(request: Any) -> None:
    if "blocks" in request.GET:
        block(0.3)
    elif "waits" in request.GET:
        gevent.sleep(0.3)


class Slow(PubSubEndpoint):
    def received(self, connection: Any, message: str | bytes) -> None:
        block(0.6)
        super().received(connection, message)


application = WebSocketMiddleware(
    None,
    identity=identify,
    allowed_channels=lambda request, requested: requested,
    endpoint=Slow,
)
