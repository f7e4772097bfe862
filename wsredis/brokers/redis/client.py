"""The connections to Redis (6 or newer) or Valkey, all made by redis-py.

Connections are made on demand and not shared across a fork. `broker` and `store` send commands over
them; `link` serves the connection that receives messages.
"""

from __future__ import annotations

import asyncio
import math
import re
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import unquote

import redis
import redis.asyncio
import redis.connection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from ...config import Config
from ...exceptions import BrokerUnavailable, ConfigurationError
from ...runtime.blocking import blocking, uses_sockets
from .link import Socket

__all__ = ["LinkConnection", "RedisClient"]

T = TypeVar("T")

_FOREIGN = (RedisError, OSError, UnicodeError)
"""The exceptions of redis-py without a connection; UnicodeError is for an invalid host name."""

uses_sockets(redis.connection)

_OURS = (
    *("protocol", "legacy_responses", "decode_responses", "encoding", "encoding_errors"),
    *("retry", "retry_on_timeout", "retry_on_error", "single_connection_client"),
)
"""Arguments that wsredis chooses. A site may have them in the URL that it uses elsewhere, too."""

_TEXTS = (
    *("host", "port", "path", "username", "password"),
    *("client_name", "lib_name", "lib_version"),
)
"""Arguments that are text in the query of a URL, besides those for TLS.

redis-py passes all others that it does not convert on as text, also where it needs an object.
"""


class LinkConnection:
    """A connection of redis-py for a link, after its HELLO."""

    def __init__(self, client: redis.Redis) -> None:
        self._connection = _new_connection(client)
        try:
            blocking(self._connection.connect)
        except BaseException:
            # Other exceptions, such as that of a credential provider, leave the socket open.
            self.close()
            raise
        self.sock: Socket = self._connection._sock

    def close(self) -> None:
        self._connection.disconnect()


class RedisClient:
    """The clients of one process for one Redis: for calls, for links, and one per asyncio loop.

    Args:
        config: its ``redis`` and ``redis_deadline`` are used.

    Attributes:
        name: the server as errors name it, without credentials, such as
            ``Redis at 127.0.0.1:6379``.

    Raises:
        ConfigurationError: redis-py does not understand the URL or the arguments.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._calls: redis.Redis = self._make(redis.Redis, protocol=2)
        self._links: redis.Redis = self._make(redis.Redis, protocol=3)
        self.name = _name(self._links)
        try:
            _new_connection(self._links)
        except (TypeError, ValueError, RedisError) as exc:
            raise _not_valid(exc) from exc
        self._async_clients: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, AsyncGenerator[Any, None]
        ] = weakref.WeakKeyDictionary()

    @property
    def database(self) -> str:
        """Return the database number of the connections."""
        return str(self._calls.connection_pool.connection_kwargs.get("db") or 0)

    def call(self, function: Callable[[redis.Redis], T]) -> T:
        """Call a function with a client, without blocking a gevent loop of the caller.

        Raises:
            BrokerUnavailable: Redis does not answer or refuses.
        """
        with self.translated():
            return blocking(function, self._calls)

    def connect_link(self) -> LinkConnection:
        """Return a new connection for a link; blocks the calling greenlet or thread.

        Raises:
            BrokerUnavailable: Redis does not answer or refuses.
        """
        with self.translated():
            return LinkConnection(self._links)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise BrokerUnavailable for connection errors and refusals of redis-py."""
        try:
            yield
        except _FOREIGN as exc:
            raise BrokerUnavailable(f"{self.name}: {_explain(exc)}") from exc

    async def asynchronous(self) -> Any:
        """Return the client of the running asyncio loop; it is closed with that loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._async_clients:
            self._async_clients[loop] = self._async_client()
        return await anext(self._async_clients[loop])

    async def _async_client(self) -> AsyncGenerator[Any, None]:
        """Yield the client of one asyncio loop; it is closed when the loop ends its generators."""
        client = self._make(redis.asyncio.Redis, AsyncRetry, protocol=2)
        try:
            while True:
                yield client
        finally:
            self._async_clients.pop(asyncio.get_running_loop(), None)
            await client.aclose()

    def _make(self, kind: Any, retry: Any = Retry, **fixed: Any) -> Any:
        """Make a client; the URL or dict can override all arguments except those of `_OURS`.

        A link needs RESP3. Calls use RESP2: with RESP3 redis-py 8 does not notice that a pooled
        connection was closed, and the first message after a restart of Redis is lost.
        """
        where, deadline = self.config.redis, self.config.redis_deadline
        fixed["retry"] = retry(NoBackoff(), 0)  # a retry could publish a message twice
        options = {
            "socket_timeout": deadline,
            "socket_connect_timeout": deadline,
            "max_connections": 2**31,  # no limit; the default of redis-py 8 is 100
        }
        try:
            if isinstance(where, Mapping):
                given = {name: value for name, value in where.items() if name not in _OURS}
                _check(given)
                if "address" not in given:
                    return kind(**{**options, **given, **fixed})
                where = given.pop("address")  # as channels_redis writes a URL with more arguments
                options |= given
            url = _without_ours(where)
            parse: Any = redis.connection.parse_url
            _check_texts(parse(url))
            _check(parse(url))
            return kind.from_url(url, **options, **fixed)
        except (TypeError, ValueError, RedisError) as exc:
            raise _not_valid(exc) from exc


def _without_ours(url: str) -> str:
    """Return a URL without the arguments of `_OURS`; redis-py would prefer them to its own."""
    base, mark, query = url.partition("?")
    others = [pair for pair in query.split("&") if unquote(pair.partition("=")[0]) not in _OURS]
    return base + mark + "&".join(others)


def _check_texts(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if isinstance(value, str) and name not in _TEXTS and not name.startswith("ssl_"):
            raise ValueError(f"{name} cannot be in a URL: leave it out, or write a dict")


def _check(given: Mapping[str, Any]) -> None:
    """Refuse arguments with which no call would succeed."""
    if given.get("connection_pool") is not None:
        raise ValueError("connection_pool: write the arguments of its connections instead")
    for name in ("socket_timeout", "socket_connect_timeout", "socket_read_size"):
        value = given.get(name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}={value!r:.100}: write a number above 0")
    if (value := given.get("health_check_interval", 0)) < 0:
        raise ValueError(f"health_check_interval={value!r:.100}: write seconds, 0 for none")


def _name(client: redis.Redis) -> str:
    where = client.connection_pool.connection_kwargs
    host, port = where.get("host", "localhost"), where.get("port", 6379)
    address = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return f"Redis at {where.get('path', address)}"


def _new_connection(client: redis.Redis) -> Any:
    """Make an unconnected connection outside the pool, which would count it for ever."""
    pool: Any = client.connection_pool
    return pool.connection_class(**pool.connection_kwargs)


_COMMAND = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
"""What redis-py prepends to an error: the command, with the channel and the message."""


def _explain(exc: Exception) -> str:
    text = _COMMAND.sub("", str(exc)) or type(exc).__name__
    text = text.removeprefix("('").removesuffix("',)")  # redis.asyncio quotes a tuple
    if "HELLO" in text or "NOPROTO" in text:
        return f"{text} (wsredis needs Redis 6 or newer, or Valkey)"
    return text


def _not_valid(exc: Exception) -> ConfigurationError:
    return ConfigurationError(f"The option redis is not valid for redis-py: {exc}")
