"""The role of the server that a connection leads to: only a primary carries messages.

A replica publishes to its own subscribers only, and its retained messages may be outdated. A node
of a cluster refuses most keys, and a Sentinel has none.
"""

from __future__ import annotations

import math
import re
import time
from typing import Any

import redis.asyncio.connection
import redis.connection
from redis.exceptions import ResponseError

from ...exceptions import WrongServer

__all__ = ["CheckedConnection", "checked", "run_id"]

AGAIN = 5.0
"""Seconds after which a connection is checked again: its server may have become a replica."""

LIFETIME = 60.0
"""Seconds after which a connection is replaced: its address may lead to another server."""

_FAULTS = {
    "replica": "is a replica{}: write the address of the primary in the option redis",
    "sentinel": "is a Sentinel: write the address of the primary in the option redis",
    "cluster": "is a node of a Redis Cluster, which wsredis does not support yet: use a server"
    " without cluster mode",
}


class CheckedConnection(redis.connection.AbstractConnection):
    """A connection of redis-py that refuses to send commands to a server of another role.

    The server is asked with HELLO when the connection is made, and before the first command after
    `AGAIN` seconds: redis-py calls `check_health` before each command. If the server has no
    HELLO, the role is not checked. After `LIFETIME` seconds the next command connects anew.

    Attributes:
        server: the server as errors name it.
        role: what HELLO has told, such as ``role master, mode standalone``.
    """

    server = ""
    role = ""
    _check_at, _replace_at = 0.0, math.inf

    def ask(self, *words: str | int) -> Any:
        """Return the reply to a command, None if it does not exist or is not permitted."""
        connection: Any = self
        connection.send_command(*words, check_health=False)
        try:
            return connection.read_response()
        except ResponseError:
            return None

    def check_health(self) -> None:
        connection: Any = super()
        connection.check_health()
        now = time.monotonic()
        if now < self._check_at:
            return
        if now >= self._replace_at:
            self.disconnect()  # the next command connects
        self._check_at = math.inf
        hello = self.ask("HELLO", self.protocol)
        if (fault := _fault(hello)) is not None:
            info = self.ask("INFO", "replication")
            self.disconnect()
            raise WrongServer(f"{self.server} {fault.format(_primary(info))}")
        self.role = f"role {_value(hello, b'role')}, mode {_value(hello, b'mode')}"
        self._replace_at = min(self._replace_at, now + LIFETIME)
        self._check_at = self._replace_at if hello is None else now + AGAIN

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self._check_at, self._replace_at = 0.0, math.inf
        connection: Any = super()
        connection.disconnect(*args, **kwargs)


class _AsyncCheckedConnection(redis.asyncio.connection.AbstractConnection):
    """A `CheckedConnection` for asyncio."""

    server = ""
    _check_at, _replace_at = 0.0, math.inf

    async def ask(self, *words: str | int) -> Any:
        await self.send_command(*words, check_health=False)
        try:
            return await self.read_response()
        except ResponseError:
            return None

    async def check_health(self) -> None:
        connection: Any = super()
        await connection.check_health()
        now = time.monotonic()
        if now < self._check_at:
            return
        if now >= self._replace_at:
            await self.disconnect()  # the next command connects
        self._check_at = math.inf
        hello = await self.ask("HELLO", self.protocol)
        if (fault := _fault(hello)) is not None:
            info = await self.ask("INFO", "replication")
            await self.disconnect()
            raise WrongServer(f"{self.server} {fault.format(_primary(info))}")
        self._replace_at = min(self._replace_at, now + LIFETIME)
        self._check_at = self._replace_at if hello is None else now + AGAIN

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self._check_at, self._replace_at = 0.0, math.inf
        connection: Any = super()
        await connection.disconnect(*args, **kwargs)


def checked(kind: Any, server: str) -> Any:
    """Return a class of connections like ``kind`` that check the role of their server.

    Args:
        kind: a class of connections of redis-py.
        server: the server as errors name it.
    """
    is_async = issubclass(kind, redis.asyncio.connection.AbstractConnection)
    check = _AsyncCheckedConnection if is_async else CheckedConnection
    return type(kind.__name__, (check, kind), {"server": server, "__module__": kind.__module__})


def run_id(info: Any) -> str | None:
    """Return the id of the process that has replied to ``INFO server``; None if it tells none."""
    return _field("run_id", info)


def _fault(hello: Any) -> str | None:
    """Return what is wrong with the server that has replied to HELLO, or None."""
    role, mode = _value(hello, b"role"), _value(hello, b"mode")
    # A replica in a cluster is a matter of the cluster.
    return _FAULTS.get(mode) or _FAULTS.get("replica" if role == "slave" else role)


def _value(hello: Any, name: bytes) -> str:
    """Return a text in the reply to HELLO, which is a list in RESP2; "unknown" if it has none."""
    if isinstance(hello, list):
        pairs = list(zip(hello[::2], hello[1::2], strict=False))
    else:
        pairs = list(hello.items()) if isinstance(hello, dict) else []
    found = (value for key, value in pairs if key == name and isinstance(value, bytes))
    return next(found, b"unknown").decode("utf-8", "replace")


def _primary(info: Any) -> str:
    """Return the end of a sentence with the address of the primary that a replica has told."""
    host, port = _field("master_host", info), _field("master_port", info)
    return f" of {host}:{port}" if host and port else ""


def _field(name: str, info: Any) -> str | None:
    """Return a field in a reply to INFO, which is None if it was refused."""
    found = re.search(rf"^{name}:(\S+)", _decoded(info), re.MULTILINE)
    return found and found[1]


def _decoded(info: Any) -> str:
    return info.decode("utf-8", "replace") if isinstance(info, bytes) else ""
