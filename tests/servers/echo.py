"""An echo server for the Autobahn cases, with a custom endpoint.

``application`` answers at every path and needs no Redis.
"""

from __future__ import annotations

from typing import Any

from wsredis import Endpoint, EndpointContext, WebSocketMiddleware


class EchoEndpoint(Endpoint):
    """An endpoint that sends every message back."""

    def __init__(self, request: Any, context: EndpointContext) -> None:
        """Listen to no channel."""

    def received(self, connection: Any, message: str | bytes) -> None:
        connection.send(message)


OPTIONS: dict[str, Any] = {
    "prefix": "/",
    "redis": "memory://echo",
    "origins": ["*"],
    "max_message_size": 32 * 2**20,
    "max_send_buffer": 64 * 2**20,
    "max_fragments": 200_000,
    "max_messages_per_second": None,
    "max_bytes_per_second": None,
    "ping_interval": 3600,
}
"""Limits that let every case through, some of which send 16 MiB in a frame, or 4 MiB in frames of
64 bytes; and no pings, because a case takes one for a wrong answer."""

application = WebSocketMiddleware(None, endpoint=EchoEndpoint, **OPTIONS)
