"""The messages between tests and a live server."""

from __future__ import annotations

import http.client
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection
from ws4redis.publisher import RedisPublisher

from .conftest import Live

__all__ = [
    "BOTH",
    "SECONDS",
    "ask",
    "broadcast",
    "cookie",
    "hear",
    "heard",
    "in_silence",
    "refusal",
]

SECONDS = 30.0
BOTH = "subscribe-broadcast&publish-broadcast"
ALL = "subscribe-broadcast&subscribe-user&subscribe-group&subscribe-session"


def broadcast(room: str, message: Any, expire: int | None = 0) -> None:
    RedisPublisher(facility=room, broadcast=True).publish_message(message, expire)


def hear(ws: ClientConnection) -> str | bytes:
    return ws.recv(timeout=SECONDS)


def refusal(live: Live, path: str, **headers: str) -> Any:
    with pytest.raises(InvalidStatus) as refused, live.open(path, **headers):
        pass
    return refused.value.response


def ask(live: Live, method: str, path: str, **headers: str) -> tuple[int, str, Any]:
    connection = http.client.HTTPConnection(live.host, timeout=SECONDS)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer.headers


def in_silence(live: Live, room: str, *sockets: ClientConnection) -> None:
    """Show that nothing is on its way to these sockets: the next message is the one sent now."""
    broadcast(room, "the end")
    for ws in sockets:
        assert hear(ws) == "the end"


def heard(live: Live, room: str, client: Client | None, *to: dict[str, Any]) -> list[Any]:
    """Return which of the messages to some audiences reach the websocket of a client."""
    with live.open(f"/ws/{room}?{ALL}", client) as ws:
        for number, audience in enumerate(to):
            RedisPublisher(facility=room, **audience).publish_message(str(number), 0)
        broadcast(room, "the end")
        return list(iter(lambda: hear(ws), "the end"))


def cookie(client: Client) -> str:
    value: str = client.cookies[settings.SESSION_COOKIE_NAME].value
    return value
