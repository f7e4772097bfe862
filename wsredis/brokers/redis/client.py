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
from gevent.lock import Semaphore
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from ...config import Config
from ...exceptions import BrokerUnavailable, ConfigurationError
from ...runtime.blocking import blocking, uses_sockets
from ...runtime.loop import in_gevent
from .link import Socket
from .role import CheckedConnection, check_roles, run_id

__all__ = ["LinkConnection", "RedisClient"]

T = TypeVar("T")

_FOREIGN = (RedisError, OSError, UnicodeError)
"""The exceptions of redis-py without a connection; UnicodeError is for an invalid host name."""

uses_sockets(redis.connection)

MAX_CALLS = 64
"""Maximum calls of greenlets, or of the tasks of an asyncio loop, at once; others wait.

Their number may depend on clients, whose messages endpoints and consumers publish, and each call
needs a connection. Threads are limited by the server."""

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
    """A connection of redis-py for a link, after its HELLO.

    Attributes:
        run_id: id of the process of Redis; None if the user of Redis may not ask for it.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._connection = _new_connection(client)
        try:
            self.run_id = blocking(_connect, self._connection)
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
        config: its ``redis``, ``redis_deadline`` and ``publish_timeout`` are used.

    Attributes:
        name: the server as errors name it, without credentials, such as
            ``Redis at 127.0.0.1:6379``.

    Raises:
        ConfigurationError: redis-py does not understand the URL or the arguments.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._calls, self._publishing = self._make_calls()
        self._call_turns, self._publish_turns = Semaphore(MAX_CALLS), Semaphore(MAX_CALLS)
        self._links: redis.Redis = self._make(redis.Redis, config.redis_deadline, protocol=3)
        self.name = _name(self._links)
        self._run_id: str | None = None  # of the server of the last link
        try:
            _new_connection(self._links)
        except (TypeError, ValueError, RedisError) as exc:
            raise _not_valid(exc) from exc
        self._async_clients: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, AsyncGenerator[Any, None]
        ] = weakref.WeakKeyDictionary()

    def _make_calls(self) -> tuple[redis.Redis, redis.Redis]:
        """Return the clients of `call` and of `call_briefly`."""
        deadline, timeout = self.config.redis_deadline, self.config.publish_timeout
        calls: redis.Redis = self._make(redis.Redis, deadline, protocol=2)
        publishing: redis.Redis = self._make(redis.Redis, timeout, protocol=2)
        return calls, publishing

    @property
    def database(self) -> str:
        """Return the database number of the connections."""
        return str(self._calls.connection_pool.connection_kwargs.get("db") or 0)

    def call(self, function: Callable[[redis.Redis], T]) -> T:
        """Call a function with a client, without blocking a gevent loop of the caller.

        Raises:
            BrokerUnavailable: Redis does not answer within ``redis_deadline`` or refuses.
        """
        with self.translated(), _turn(self._call_turns, self.config.redis_deadline):
            return blocking(function, self._calls)

    def call_briefly(self, function: Callable[[redis.Redis], T]) -> T:
        """Call a function like `call`, for a view, which waits only for ``publish_timeout``."""
        with self.translated(), _turn(self._publish_turns, self.config.publish_timeout):
            return blocking(function, self._publishing)

    def connect_link(self) -> LinkConnection:
        """Return a new connection for a link; blocks the calling greenlet or thread.

        If it leads to another server than the last one, later calls connect anew, too.

        Raises:
            BrokerUnavailable: Redis does not answer or refuses, or is a `WrongServer`.
        """
        with self.translated():
            connection = LinkConnection(self._links)
        if self._run_id is not None and connection.run_id not in (None, self._run_id):
            self._calls, self._publishing = self._make_calls()
        self._run_id = connection.run_id
        return connection

    def find_run_id(self) -> str | None:
        """Return the run id of the server that the address leads to now, over a new connection.

        It is None if the run id of the last link is unknown, or the server does not tell its own.

        Raises:
            BrokerUnavailable: as with `connect_link`.
        """
        asks = self._run_id is not None
        return self._visit(lambda connection: _connect(connection, asks))

    def describe(self) -> str:
        """Return what the server says about itself, over a new connection.

        Raises:
            BrokerUnavailable: as with `connect_link`.
        """

        def describe(connection: CheckedConnection) -> str:
            may_ask = _connect(connection) is not None
            return f"{self.name}: {connection.role}" + ("" if may_ask else ", INFO not permitted")

        return self._visit(describe)

    def _visit(self, function: Callable[[CheckedConnection], T]) -> T:
        """Call a function with a new connection, and close the connection.

        Does not block a gevent loop of the caller.
        """

        def visit() -> T:
            connection = _new_connection(self._links)
            try:
                return function(connection)
            finally:
                connection.disconnect()

        with self.translated():
            return blocking(visit)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise BrokerUnavailable for connection errors and refusals of redis-py."""
        try:
            yield
        except _FOREIGN as exc:
            raise BrokerUnavailable(f"{self.name}: {_explain(exc)}") from exc

    async def asynchronous(self) -> Any:
        """Return the client of the running asyncio loop; it is closed with that loop.

        Its calls wait for ``publish_timeout``, as those of `call_briefly`.
        """
        loop = asyncio.get_running_loop()
        if loop not in self._async_clients:
            self._async_clients[loop] = self._async_client()
        return await anext(self._async_clients[loop])

    async def _async_client(self) -> AsyncGenerator[Any, None]:
        """Yield the client of one asyncio loop; it is closed when the loop ends its generators."""
        timeout = self.config.publish_timeout
        calls: redis.Redis | None = None
        clients: list[Any] = []  # another one for each time that the link led to another server
        try:
            while True:
                if calls is not self._calls:
                    calls = self._calls
                    clients.append(self._make(redis.asyncio.Redis, timeout, AsyncRetry, protocol=2))
                yield clients[-1]
        finally:
            self._async_clients.pop(asyncio.get_running_loop(), None)
            for client in clients:
                await client.aclose()

    def _make(self, kind: Any, timeout: float, retry: Any = Retry, **fixed: Any) -> Any:
        """Make a client; the URL or dict can override all arguments except those of `_OURS`.

        ``timeout`` is in seconds, for connecting and for each command.

        A link needs RESP3. Calls use RESP2: with RESP3 redis-py 8 does not notice that a pooled
        connection was closed, and the first message after a restart of Redis is lost.
        """
        where = self.config.redis
        fixed["retry"] = retry(NoBackoff(), 0)  # a retry could publish a message twice
        options = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            # Without a limit, as `_turn` has one; the default of redis-py 8 is 100.
            "max_connections": MAX_CALLS if kind is redis.asyncio.Redis else 2**31,
        }
        try:
            if isinstance(where, Mapping):
                given = {name: value for name, value in where.items() if name not in _OURS}
                _check(given)
                address = given.pop("address", None)
                if address is None:
                    client = kind(**{**options, **given, **fixed})
                else:  # as channels_redis writes a URL with more arguments
                    client = _from_url(kind, address, {**options, **given, **fixed})
            else:
                client = _from_url(kind, where, {**options, **fixed})
        except (TypeError, ValueError, RedisError) as exc:
            raise _not_valid(exc) from exc
        if kind is redis.asyncio.Redis:
            client.connection_pool = _waiting(client.connection_pool, timeout)
        check_roles(client.connection_pool, _name(client))
        return client


@contextmanager
def _turn(turns: Semaphore, seconds: float) -> Iterator[None]:
    """Let a greenlet wait for its turn; a thread goes on at once.

    Raises:
        ConnectionError: it did not have its turn in time.
    """
    if not in_gevent():
        yield
        return
    if not turns.acquire(timeout=seconds):
        raise redis.ConnectionError(f"{MAX_CALLS} other calls have not been answered")
    try:
        yield
    finally:
        turns.release()


def _waiting(pool: Any, timeout: float) -> Any:
    """Return a pool like another one of asyncio, in which callers wait for a connection."""
    return redis.asyncio.BlockingConnectionPool(
        max_connections=pool.max_connections,
        timeout=timeout,
        connection_class=pool.connection_class,
        **pool.connection_kwargs,
    )


def _from_url(kind: Any, where: str, options: Mapping[str, Any]) -> Any:
    url = _without_ours(where)
    parse: Any = redis.connection.parse_url
    _check_texts(parse(url))
    _check(parse(url))
    return kind.from_url(url, **options)


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
        raise ValueError(
            "connection_pool is not supported: write the arguments of its connections instead"
        )
    for name in ("socket_timeout", "socket_connect_timeout", "socket_read_size"):
        value = given.get(name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}={value!r:.100}: write a number above 0")
    if (value := given.get("health_check_interval", 0)) < 0:
        raise ValueError(f"health_check_interval={value!r:.100}: write seconds, 0 for none")


def _name(client: Any) -> str:
    where = client.connection_pool.connection_kwargs
    host, port = where.get("host", "localhost"), where.get("port", 6379)
    address = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return f"Redis at {where.get('path', address)}"


def _new_connection(client: redis.Redis) -> Any:
    """Make an unconnected connection outside the pool, which would count it for ever."""
    pool: Any = client.connection_pool
    return pool.connection_class(**pool.connection_kwargs)


def _connect(connection: CheckedConnection, ask: bool = True) -> str | None:
    """Connect, and return the run id of the server if it is to be asked for and tells it."""
    plain: Any = connection
    plain.connect()
    connection.check_health()  # if no command of the connection has done so
    return run_id(connection.ask("INFO", "server")) if ask else None


_COMMAND = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
"""What redis-py prepends to an error: the command, with the channel and the message."""


def _explain(exc: Exception) -> str:
    text = _COMMAND.sub("", str(exc)) or type(exc).__name__
    text = text.removeprefix("('").removesuffix("',)")  # redis.asyncio quotes a tuple
    if "HELLO must be called with the client already authenticated" in text:
        return "Authentication required."
    if "HELLO" in text or "NOPROTO" in text:
        return f"{text} (wsredis needs Redis 6 or newer, or Valkey)"
    return text


def _not_valid(exc: Exception) -> ConfigurationError:
    return ConfigurationError(f"The option redis is not valid for redis-py: {exc}")
