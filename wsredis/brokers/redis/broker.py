"""The broker over Redis pub/sub: publishing, reading retained messages, the log of a channel.

`client` makes the connections to Redis; `feed` receives messages for a hub.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import redis
from redis.exceptions import ReadOnlyError, ResponseError

from ...message import Message, decode
from ...runtime.loop import Loop
from ..base import Deliver
from ..copies import ALWAYS_FITS, OPTION, OutputLimit
from .client import RedisClient
from .feed import RedisFeed
from .watch import Watch

__all__ = ["RedisBroker"]

log = logging.getLogger("wsredis.brokers.redis")

NOT_STORED = (
    "Redis does not store the log of %s (%s): the message was only published, so processes that"
    " are not connected will not get it."
)


class RedisBroker:
    """A broker over Redis pub/sub (see `Broker` and `Log`).

    Args:
        client: makes the connections to Redis.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._envelope = client.config.envelope
        self._limit: OutputLimit | None = None

    def open(self, loop: Loop, deliver: Deliver) -> RedisFeed:
        client = self._client
        return RedisFeed(
            client.connect_link,
            client.config.redis_deadline,
            deliver,
            self._fetch_value,
            Watch(client.find_run_id),
            self._envelope,
            client.name,
        )

    def _fetch_value(self, key: str) -> bytes | None:
        value: Any = self._client.call(lambda client: client.get(key))
        found: bytes | None = value
        return found

    def publish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        def publish(client: redis.Redis) -> int:
            if len(payload) * len(channels) > ALWAYS_FITS:
                if self._limit is None:
                    with suppress(redis.ResponseError):  # Redis may not permit the question
                        self._limit = _output_limit(client.config_get(OPTION))
                (self._limit or OutputLimit()).check(len(payload), len(channels))
            with client.pipeline(transaction=len(channels) > 1 or expire > 0) as pipe:
                return _receivers(_fill(pipe, channels, payload, expire).execute())

        return self._client.call_briefly(publish)

    async def apublish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        client = await self._client.asynchronous()
        with self._client.translated():
            if len(payload) * len(channels) > ALWAYS_FITS:
                if self._limit is None:
                    with suppress(redis.ResponseError):
                        self._limit = _output_limit(await client.config_get(OPTION))
                (self._limit or OutputLimit()).check(len(payload), len(channels))
            async with client.pipeline(transaction=len(channels) > 1 or expire > 0) as pipe:
                return _receivers(await _fill(pipe, channels, payload, expire).execute())

    def append(self, channel: str, payload: bytes, seconds: int, most: int) -> int:
        def append(client: redis.Redis) -> int:
            with client.pipeline(transaction=True) as pipe:
                pipe.rpush(channel, payload)
                pipe.ltrim(channel, -most, -1)
                pipe.expire(channel, seconds)
                pipe.publish(channel, payload)
                try:
                    *stored, published = pipe.execute(raise_on_error=False)
                except ReadOnlyError as exc:  # a replica reaches only its own subscribers
                    raise ReadOnlyError(_reason(exc)) from None
                except ResponseError as exc:  # nothing was done
                    stored, published = [exc], client.publish(channel, payload)
            if isinstance(published, Exception):
                raise published
            refused = next((reply for reply in stored if isinstance(reply, Exception)), None)
            if refused is not None:
                log.error(NOT_STORED, channel, _reason(refused))
            receivers: int = published
            return receivers

        return self._client.call_briefly(append)

    def fetch(self, channels: Sequence[str]) -> list[Message]:
        if not channels:
            return []
        values: Any = self._client.call_briefly(lambda client: client.mget(list(channels)))
        found = [pair for pair in zip(channels, values, strict=True) if pair[1] is not None]
        return [decode(*pair, self._envelope) for pair in found]


def _fill(pipe: Any, channels: Sequence[str], payload: bytes, expire: int) -> Any:
    """Add the commands that publish a payload to a pipeline, which sends them in one round trip."""
    for channel in channels:
        if expire:
            pipe.set(channel, payload, ex=expire)
        pipe.publish(channel, payload)
    return pipe


def _output_limit(found: dict[Any, Any]) -> OutputLimit:
    """Read the reply to CONFIG GET as redis-py returns it."""
    (value,) = found.values()
    return OutputLimit.read(value.decode() if isinstance(value, bytes) else value)


def _reason(error: Exception) -> str:
    """Return an error of Redis without the command, which redis-py puts in front of it."""
    return str(error).rpartition("caused error: ")[2].rstrip(".")


def _receivers(replies: list[Any]) -> int:
    """Add up the results of PUBLISH; those of SET are True."""
    return sum(reply for reply in replies if type(reply) is int)
