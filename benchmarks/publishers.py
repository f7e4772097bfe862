"""The publishing of messages to each server: over Redis in that server's format, or over HTTP.

This process publishes to all servers. It writes the same bytes as the server's own publisher, or
nearly so, so that no other Python process affects the measurement.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

import redis

__all__ = [
    "HttpPublisher",
    "Publisher",
    "RedisPublisher",
    "channels_form",
    "consumers_form",
    "plain_form",
    "socketio_form",
    "stamped",
    "ws4redis_form",
    "wsredis_form",
]

STAMP = 21  # 20 digits and a space
ANSWER_SECONDS = 20.0

Form = Callable[[str, bytes], tuple[str, bytes]]
"""A function that converts a channel's name and a payload to the Redis channel and message."""


def stamped(size: int) -> bytes:
    """Return a message of that many bytes, which begins with the current time."""
    return b"%020d " % time.monotonic_ns() + filler(size - STAMP)


@cache
def filler(size: int) -> bytes:
    """Return text that compresses about as well as JSON, without quotes, which need escaping."""
    record = b"{id: %d, price: %d.%02d},"
    records = [record % (i * 7919 % 99991, i * 31 % 997, i % 100) for i in range(size // 16 + 1)]
    return b"".join(records)[:size]


class Publisher(Protocol):
    """A publisher of several messages at a time, which returns when they have been accepted."""

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> None: ...

    def close(self) -> None: ...


class RedisPublisher:
    """A publisher with Redis' PUBLISH, in the format that a server expects."""

    def __init__(self, port: int, form: Form) -> None:
        self._redis = redis.Redis(port=port)
        self._form = form

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for name, payload in messages:
            pipeline.publish(*self._form(name, payload))
        pipeline.execute()

    def close(self) -> None:
        self._redis.close()


class HttpPublisher:
    """A publisher with HTTP POST, one request after the other on one connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        for name, payload in messages:
            head = f"POST /publish/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            head += f"Content-Length: {len(payload)}\r\n\r\n"
            self._socket.sendall(head.encode() + payload)
            self._read_answer()

    def _read_answer(self) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"publishing was refused: {head[:40]!r}")
        lengths = [
            line[15:] for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"
        ]
        missing = int(lengths[0]) - len(body) if lengths else 0
        while missing > 0:
            missing -= len(self._more())

    def _more(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise RuntimeError("the server closed the publisher's connection")
        return data

    def close(self) -> None:
        self._socket.close()


def plain_form(name: str, payload: bytes) -> tuple[str, bytes]:
    """Return the payload unchanged, for a channel of that name."""
    return name, payload


def wsredis_form(name: str, payload: bytes) -> tuple[str, bytes]:
    """Return the format of wsredis: `u7` is a user, `g7` a group, anything else a facility."""
    return f"ws:{_audience(name)}", payload


def ws4redis_form(name: str, payload: bytes) -> tuple[str, bytes]:
    """Return the format of django-websocket-redis."""
    return _audience(name), payload


def _audience(name: str) -> str:
    kind = {"u": "user", "g": "group"}.get(name[0]) if name[1:].isdigit() else None
    return f"{kind}:{name}:bench" if kind else f"broadcast:{name}"


def channels_form(name: str, payload: bytes) -> tuple[str, bytes]:
    """Return a `group_send` of channels_redis: a map of two strings in MessagePack."""
    return f"asgi__group__{name}", b"\x82\xa4type\xadbench.message\xa4text" + _packed(payload)


def consumers_form(name: str, payload: bytes) -> tuple[str, bytes]:
    """Return a `group_send` of the default layer of wsredis, in JSON; a broadcast for `plain`."""
    if name == "plain":
        return wsredis_form(name, payload)
    event = {"type": "bench.message", "text": payload.decode()}
    return f"ws:asgi__group__{name}", json.dumps(event).encode()


def _packed(text: bytes) -> bytes:
    size = len(text)
    if size < 256:
        return b"\xd9" + size.to_bytes(1, "big") + text
    if size < 65536:
        return b"\xda" + size.to_bytes(2, "big") + text
    return b"\xdb" + size.to_bytes(4, "big") + text


def socketio_form(name: str, payload: bytes) -> tuple[str, bytes]:
    """Return an `emit` of python-socketio to a room."""
    emit = {
        "method": "emit",
        "event": "message",
        "data": [payload.decode()],
        "binary": False,
        "namespace": "/",
        "room": name,
        "skip_sid": None,
        "callback": None,
        "host_id": "bench",
    }
    return "flask-socketio", json.dumps(emit).encode()
