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

__all__ = ["CheckedConnection", "check_roles", "run_id"]

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


class _Checked:
    """The part of a checked connection that is the same for threads and for asyncio.

    Attributes:
        server: the server as errors name it.
        role: what HELLO has told, such as ``role master, mode standalone``.
    """

    server = ""
    role = ""
    _check_at, _replace_at = 0.0, math.inf  # monotonic seconds

    def pause(self) -> None:
        """Do not check while redis-py authenticates and chooses the database."""
        self._check_at = math.inf

    def restart(self) -> None:
        """Check before the next command; a new connection may lead to another server."""
        self._check_at, self._replace_at = 0.0, math.inf

    def _note(self, hello: Any) -> None:
        """Note that the server is the right one, as far as it tells."""
        now = time.monotonic()
        self.role = f"role {_value(hello, b'role')}, mode {_value(hello, b'mode')}"
        self._replace_at = min(self._replace_at, now + LIFETIME)
        self._check_at = self._replace_at if hello is None else now + AGAIN


class CheckedConnection(_Checked, redis.connection.AbstractConnection):
    """A connection of redis-py that refuses to send commands to a server of another role.

    The server is asked with HELLO before the first command, and again before the first one after
    `AGAIN` seconds: redis-py calls `check_health` before each command. If the server has no HELLO,
    the role is not checked. After `LIFETIME` seconds the next command connects anew.
    """

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
        if now >= self._check_at:
            if now >= self._replace_at:
                self.disconnect()  # the next command connects
            self.check_role()

    def check_role(self) -> None:
        """Ask for the role.

        Raises:
            WrongServer: the server is a replica, a node of a cluster or a Sentinel.
        """
        hello = self.ask("HELLO", self.protocol)
        if (fault := _fault(hello)) is not None:
            info = self.ask("INFO", "replication")
            self.disconnect()
            raise WrongServer(f"{self.server} {fault.format(_primary(info))}")
        self._note(hello)

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self.restart()
        connection: Any = super()
        connection.disconnect(*args, **kwargs)


class _AsyncCheckedConnection(_Checked, redis.asyncio.connection.AbstractConnection):
    """A `CheckedConnection` for asyncio."""

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
        if now >= self._check_at:
            if now >= self._replace_at:
                await self.disconnect()
            await self.check_role()

    async def check_role(self) -> None:
        hello = await self.ask("HELLO", self.protocol)
        if (fault := _fault(hello)) is not None:
            info = await self.ask("INFO", "replication")
            await self.disconnect()
            raise WrongServer(f"{self.server} {fault.format(_primary(info))}")
        self._note(hello)

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self.restart()
        connection: Any = super()
        await connection.disconnect(*args, **kwargs)


def check_roles(pool: Any, server: str) -> None:
    """Let the connections of a new pool of redis-py check the role of their server.

    Args:
        pool: a pool of either kind of connections.
        server: the server as errors name it.
    """
    kind = pool.connection_class
    is_async = issubclass(kind, redis.asyncio.connection.AbstractConnection)
    check = _AsyncCheckedConnection if is_async else CheckedConnection
    names = {"server": server, "__module__": kind.__module__}
    pool.connection_class = type(kind.__name__, (check, kind), names)
    given = pool.connection_kwargs.get("redis_connect_func") or pool.connection_class.on_connect

    def connect(connection: CheckedConnection) -> None:
        connection.pause()
        try:
            given(connection)
        except ResponseError:  # a node of a cluster and a Sentinel refuse SELECT
            connection.check_role()
            raise
        connection.restart()

    async def aconnect(connection: _AsyncCheckedConnection) -> None:
        connection.pause()
        try:
            await given(connection)
        except ResponseError:
            await connection.check_role()
            raise
        connection.restart()

    pool.connection_kwargs["redis_connect_func"] = aconnect if is_async else connect


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
