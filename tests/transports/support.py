"""Websockets whose handshake the endpoint answers later, in this process."""

from __future__ import annotations

from collections.abc import Callable

from wsredis.endpoints import EndpointConnection
from wsredis.handshake.upgrade import Handshake
from wsredis.identity import Identity
from wsredis.transports.websocket import WebSocket

from ..place import CHANNEL, Client, Place, Recorder

__all__ = ["HANDSHAKE", "Deferred", "head", "rest", "wait"]

HANDSHAKE = Handshake((("Upgrade", "websocket"),), ("one", "two"), "one")


class Deferred(Recorder):
    """An endpoint that answers later, or as a test tells it."""

    deferred = True

    def __init__(self, answer: Callable[[EndpointConnection], None] | None = None) -> None:
        super().__init__()
        self.answer = answer
        self.opens = 0

    def connecting(self, connection: EndpointConnection) -> None:
        if self.answer is not None:
            self.answer(connection)

    def opened(self, connection: EndpointConnection) -> None:
        self.opens += 1


def wait(place: Place, endpoint: Deferred, early: bytes = b"") -> tuple[Client, WebSocket]:
    """Return a client that waits for the answer to its handshake."""
    connection = place.websocket(endpoint, Identity("alice"))
    connection.subprotocol = "one"
    place.join(connection, [CHANNEL])
    near, far = place.pair()
    place.run(connection.await_answer, near.detach(), early, HANDSHAKE)
    return Client(far), connection


def head(client: Client) -> list[str]:
    """Return the lines of an answer's head."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += client._take(1)
    return data.decode().split("\r\n")[:-2]


def rest(client: Client) -> str:
    """Return all up to the end."""
    return (client._bytes + b"".join(iter(lambda: client.sock.recv(1000), b""))).decode()
