"""A site with code that blocks: an endpoint, a resolver and a policy, each on request."""

from __future__ import annotations

import logging
from typing import Any

import gevent.monkey

from wsredis import Identity, PubSubEndpoint, WebSocketMiddleware

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")

block = gevent.monkey.get_original("time", "sleep")
"""What a database driver in C does, with or without monkey-patching."""

SECONDS = 0.6


def resolver(request: Any) -> Identity:
    if request.headers.get("X-User") == "resolver":
        block(SECONDS)
    return Identity("alice")


def policy(request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
    if request.headers.get("X-User") == "policy":
        block(SECONDS)
    return requested


class Slow(PubSubEndpoint):
    """An endpoint that blocks at each message."""

    def received(self, connection: Any, message: str | bytes) -> None:
        block(SECONDS)
        super().received(connection, message)


application = WebSocketMiddleware(
    None, identity=resolver, allowed_channels=policy, endpoint=Slow, handshake_timeout=30
)
