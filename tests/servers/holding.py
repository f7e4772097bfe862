"""A site whose endpoint blocks at each message."""

from __future__ import annotations

import logging
from typing import Any

import gevent.monkey

from wsredis import PubSubEndpoint, WebSocketMiddleware

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")

block = gevent.monkey.get_original("time", "sleep")
"""What a database driver in C does, with or without monkey-patching."""


class Slow(PubSubEndpoint):
    def received(self, connection: Any, message: str | bytes) -> None:
        block(0.6)
        super().received(connection, message)


application = WebSocketMiddleware(
    None, allowed_channels=lambda request, requested: requested, endpoint=Slow
)
