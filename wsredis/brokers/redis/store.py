"""One-time values in Redis (see `wsredis.brokers.store`)."""

from __future__ import annotations

import redis

from .client import RedisClient

__all__ = ["RedisStore"]


class RedisStore:
    """One-time values in Redis.

    Args:
        client: makes the connections to Redis.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    def put(self, key: str, value: bytes, seconds: int) -> None:
        self._client.call(lambda client: client.set(key, value, ex=seconds))

    def take(self, key: str) -> bytes | None:
        def take(client: redis.Redis) -> bytes | None:
            with client.pipeline(transaction=True) as pipe:  # GETDEL needs Redis 6.2
                pipe.get(key)
                pipe.delete(key)
                value: bytes | None = pipe.execute()[0]
            return value

        return self._client.call(take)
