"""A middleware that is called as a server calls it, in this process."""

from __future__ import annotations

import socket
from typing import Any

from wsredis import Config, Identity, WebSocketMiddleware
from wsredis.brokers.memory.broker import MemoryBroker
from wsredis.hub.limits import Limits

from .place import SECONDS

__all__ = ["ADDRESS", "NOTHING", "DirectGate"]

ADDRESS = "192.0.2.1"
"""The address of every client."""

NOTHING = (0, {}, 0)
"""What `DirectGate.taken` returns without a client."""


class DirectGate:
    """A middleware that is called as a server does, with one end of a socket pair."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        config = Config(max_connections_per_address=5)
        self.broker = MemoryBroker()
        options = {"identity": lambda request: Identity("alice"), **options}
        self.middleware = WebSocketMiddleware(None, config=config, broker=self.broker, **options)
        self.process = self.middleware._process_here()
        self.far_ends: list[socket.socket] = []

    @property
    def limits(self) -> Limits:
        return self.process.limits

    def taken(self) -> tuple[int, dict[tuple[str, str], int], int]:
        """Return the slots that are taken, and how many subscribers the hub has."""
        return self.limits.count, dict(self.limits._taken), self.middleware.stats()["connections"]

    def ask(
        self,
        query: str = "subscribe-broadcast",
        gone: bool = False,
        **headers: str,
    ) -> tuple[str, bytes]:
        """Ask for a websocket; return the status and the body of the answer."""
        near, far = socket.socketpair()
        far.settimeout(SECONDS)
        self.far_ends.append(far)
        if gone:
            far.close()
        answers: list[str] = []
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/ws/news",
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": ADDRESS,
            "HTTP_HOST": "localhost",
            "HTTP_UPGRADE": "websocket",
            "HTTP_CONNECTION": "Upgrade",
            "HTTP_SEC_WEBSOCKET_VERSION": "13",
            "HTTP_SEC_WEBSOCKET_KEY": "AAAAAAAAAAAAAAAAAAAAAA==",
            "werkzeug.socket": near,
            **headers,
        }
        with near:
            respond = self.middleware(environ, lambda status, headers: answers.append(status))
            body = b"".join(respond)
        return answers[0], body

    def close(self) -> None:
        self.middleware.close()
        for far in self.far_ends:
            far.close()
