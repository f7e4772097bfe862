"""The broker over Redis (6 or newer) or Valkey: connections by redis-py, publishing, fetching.

Nothing connects before it is needed, and nothing is shared across a fork. A publisher's sockets are
redis-py's own. In a greenlet of a process that is not monkey-patched their blocking calls run in
gevent's thread pool, so that a slow Redis never holds up the loop.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import gevent
import gevent.monkey
import gevent.socket
import redis
import redis.asyncio
import redis.connection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from ..config import Config
from ..exceptions import BrokerUnavailable, ConfigurationError
from ..loop import Loop, in_gevent
from ..message import Message, decode
from .base import Deliver
from .feed import RedisFeed
from .link import Socket

__all__ = ["RedisBroker", "blocking", "stay_while"]

T = TypeVar("T")

_FOREIGN = (RedisError, OSError, UnicodeError)
"""What redis-py raises when it does not get through; the last for an impossible host name."""


_without_pool = False
"""Whether this is a child that a greenlet has forked: the pool's threads are not in it."""


def _after_fork() -> None:
    global _without_pool
    _without_pool = in_gevent()


os.register_at_fork(after_in_child=_after_fork)


_undisturbed: set[Callable[[], bool]] = set()


def stay_while(busy: Callable[[], bool]) -> None:
    """Let `blocking` hold up the loop as long as a function says that no other greenlet may run.

    For an adapter whose framework keeps something for a thread that is one request's alone, such
    as a transaction.
    """
    _undisturbed.add(busy)


def blocking(function: Callable[..., T], *args: Any) -> T:
    """Call a function that blocks a thread without holding up the gevent loop we may be on."""
    if not in_gevent() or _is_patched() or _without_pool:
        return function(*args)
    if any(busy() for busy in _undisturbed):
        return function(*args)

    def work() -> tuple[Any, Exception | None]:  # the pool prints what is raised in it
        try:
            return function(*args), None
        except Exception as exc:
            return None, exc

    result, error = gevent.get_hub().threadpool.apply(work)
    if error is not None:
        raise error
    return cast(T, result)


def _is_patched() -> bool:
    """Tell whether redis-py's sockets are gevent's: by monkey-patching, or put there alone."""
    return (
        gevent.monkey.is_module_patched("socket")
        or getattr(redis.connection, "socket", None) is gevent.socket
    )


class _Connection:
    """Hold a greeted connection of redis-py for a link."""

    def __init__(self, client: redis.Redis) -> None:
        self._connection = _new_connection(client)
        try:
            blocking(self._connection.connect)
        except BaseException as exc:
            # What is no error of redis-py, like that of a credential provider, leaves the socket.
            self.close()
            if isinstance(exc, _FOREIGN):
                raise BrokerUnavailable(_explain(exc)) from exc
            raise
        self.sock: Socket = self._connection._sock

    def close(self) -> None:
        self._connection.disconnect()


def _new_connection(client: redis.Redis) -> Any:
    """Make a connection beside the pool, which would count it for ever; nothing connects yet."""
    pool: Any = client.connection_pool
    return pool.connection_class(**pool.connection_kwargs)


def _explain(exc: Exception) -> str:
    text = str(exc) or type(exc).__name__
    if "HELLO" in text or "NOPROTO" in text:
        return f"{text} (wsredis needs Redis 6 or newer, or Valkey)"
    return text


class RedisBroker:
    """Move messages between processes through Redis pub/sub (see `Broker`).

    Args:
        config: its ``redis`` and ``redis_deadline`` are used.

    Raises:
        ConfigurationError: redis-py does not understand the URL or the arguments.
    """

    def __init__(self, config: Config) -> None:
        self._where = config.redis
        self._deadline = config.redis_deadline
        self._envelope = config.envelope
        self._client: redis.Redis = self._make(redis.Redis, protocol=2)
        self._links: redis.Redis = self._make(redis.Redis, protocol=3)
        try:
            _new_connection(self._links)
        except (TypeError, ValueError, RedisError) as exc:
            raise _senseless(exc) from exc
        self._async_clients: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, AsyncGenerator[Any, None]
        ] = weakref.WeakKeyDictionary()

    def _make(self, kind: Any, retry: Any = Retry, **fixed: Any) -> Any:
        """Make a client; ``fixed`` arguments are ours, others a URL or dict may set.

        A link needs RESP3. Whoever publishes takes RESP2: with RESP3 redis-py 8 does not see that
        a pooled connection was closed meanwhile, and the first message after a restart is lost.
        """
        fixed["decode_responses"] = False
        options = {
            "retry": retry(NoBackoff(), 0),  # what may have been published is not sent twice
            "socket_timeout": self._deadline,
            "socket_connect_timeout": self._deadline,
            "max_connections": 2**31,  # as many as publish at once; redis-py 8 refuses from 100 on
        }
        try:
            if isinstance(self._where, Mapping):
                return kind(**{**options, **self._where, **fixed})
            client = kind.from_url(self._where, **options, **fixed)
        except (TypeError, ValueError, RedisError) as exc:
            raise _senseless(exc) from exc
        client.connection_pool.connection_kwargs.update(fixed)  # a URL's own words go before ours
        return client

    def open(self, loop: Loop, deliver: Deliver) -> RedisFeed:
        connect = partial(_Connection, self._links)
        return RedisFeed(connect, self._deadline, deliver, self._envelope)

    def publish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        return blocking(self._publish, channels, payload, expire)

    def _publish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        try:
            with self._client.pipeline(transaction=len(channels) > 1 or expire > 0) as pipe:
                return _receivers(_fill(pipe, channels, payload, expire).execute())
        except _FOREIGN as exc:
            raise BrokerUnavailable(_explain(exc)) from exc

    async def apublish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        loop = asyncio.get_running_loop()
        if loop not in self._async_clients:
            self._async_clients[loop] = self._async_client()
        client = await anext(self._async_clients[loop])
        try:
            async with client.pipeline(transaction=len(channels) > 1 or expire > 0) as pipe:
                return _receivers(await _fill(pipe, channels, payload, expire).execute())
        except _FOREIGN as exc:
            raise BrokerUnavailable(_explain(exc)) from exc

    async def _async_client(self) -> AsyncGenerator[Any, None]:
        """Hold a client for one asyncio loop, which ends it when it shuts its generators down."""
        client = self._make(redis.asyncio.Redis, AsyncRetry, protocol=2)
        try:
            while True:
                yield client
        finally:
            self._async_clients.pop(asyncio.get_running_loop(), None)
            await client.aclose()

    def append(self, channel: str, payload: bytes, seconds: int, most: int) -> int:
        return blocking(self._append, channel, payload, seconds, most)

    def _append(self, channel: str, payload: bytes, seconds: int, most: int) -> int:
        try:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.rpush(channel, payload)
                pipe.ltrim(channel, -most, -1)
                pipe.expire(channel, seconds)
                pipe.publish(channel, payload)
                receivers: int = pipe.execute()[-1]
        except _FOREIGN as exc:
            raise BrokerUnavailable(_explain(exc)) from exc
        return receivers

    def fetch(self, channels: Sequence[str]) -> list[Message]:
        try:
            kept: Any = blocking(self._client.mget, list(channels)) if channels else []
        except _FOREIGN as exc:
            raise BrokerUnavailable(_explain(exc)) from exc
        found = [pair for pair in zip(channels, kept, strict=True) if pair[1] is not None]
        return [decode(*pair, self._envelope) for pair in found]

    def put(self, key: str, value: bytes, seconds: int) -> None:
        try:
            blocking(partial(self._client.set, key, value, ex=seconds))
        except _FOREIGN as exc:
            raise BrokerUnavailable(_explain(exc)) from exc

    def take(self, key: str) -> bytes | None:
        return blocking(self._take, key)

    def _take(self, key: str) -> bytes | None:
        try:
            with self._client.pipeline(transaction=True) as pipe:  # GETDEL needs Redis 6.2
                pipe.get(key)
                pipe.delete(key)
                value: bytes | None = pipe.execute()[0]
        except _FOREIGN as exc:
            raise BrokerUnavailable(_explain(exc)) from exc
        return value


def _senseless(exc: Exception) -> ConfigurationError:
    return ConfigurationError(f"redis makes no sense to redis-py: {exc}")


def _fill(pipe: Any, channels: Sequence[str], payload: bytes, expire: int) -> Any:
    """Put a publication into a pipeline: one round trip, and one step where it matters."""
    for channel in channels:
        if expire:
            pipe.set(channel, payload, ex=expire)
        pipe.publish(channel, payload)
    return pipe


def _receivers(replies: list[Any]) -> int:
    """Add up what PUBLISH has returned; SET returns True."""
    return sum(reply for reply in replies if type(reply) is int)
