"""Queues in Redis lists (see `wsredis.brokers.queues`).

An element of a list is the time at which the message expires, 8 bytes, and the message. The list
itself expires with the last of its messages to expire.
"""

from __future__ import annotations

import math
import re
import struct
import time
from collections.abc import Sequence
from typing import Any

import redis

from ..queues import Item
from .client import RedisClient

__all__ = ["RedisQueues"]

_TIME = struct.Struct(">d")

_WAKE = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
redis.call('PUBLISH', KEYS[1], '')
return 1
"""

_PUSH = f"""
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[3])
{_WAKE}"""

_PUT_BACK = f"""
for i = #ARGV, 2, -1 do redis.call('LPUSH', KEYS[1], ARGV[i]) end
{_WAKE}"""

CLEAR_AT_ONCE = 1000
"""Keys that are looked for, and deleted, by one command."""


class RedisQueues:
    """Queues in Redis lists.

    Args:
        client: makes the connections to Redis.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    def push(self, key: str, payload: bytes, most: int, seconds: float) -> bool:
        arguments = _push_arguments(key, payload, most, seconds)
        return bool(self._client.call(lambda client: client.eval(_PUSH, 1, *arguments)))

    async def apush(self, key: str, payload: bytes, most: int, seconds: float) -> bool:
        arguments = _push_arguments(key, payload, most, seconds)
        client = await self._client.asynchronous()
        with self._client.translated():
            return bool(await client.eval(_PUSH, 1, *arguments))

    def take(self, key: str) -> Item | None:
        def take(client: redis.Redis) -> Item | None:
            while True:
                value: Any = client.lpop(key)
                if value is None:
                    return None
                (until,) = _TIME.unpack_from(value.ljust(_TIME.size, b"\0"))
                if until > time.time():
                    return Item(until, value[_TIME.size :])

        return self._client.call(take)

    def put_back(self, key: str, items: Sequence[Item]) -> None:
        now = time.time()
        milliseconds = max(_milliseconds(max(1e-3, item.until - now)) for item in items)
        elements: Any = [_TIME.pack(item.until) + item.payload for item in items]
        arguments = (key, milliseconds, *elements)
        self._client.call(lambda client: client.eval(_PUT_BACK, 1, *arguments))

    def clear(self, prefix: str) -> None:
        def clear(client: redis.Redis) -> None:
            for key in client.scan_iter(match=_pattern(prefix), count=CLEAR_AT_ONCE):
                client.delete(key)

        self._client.call(clear)

    async def aclear(self, prefix: str) -> None:
        client = await self._client.asynchronous()
        with self._client.translated():
            async for key in client.scan_iter(match=_pattern(prefix), count=CLEAR_AT_ONCE):
                await client.delete(key)


def _push_arguments(key: str, payload: bytes, most: int, seconds: float) -> tuple[Any, ...]:
    element = _TIME.pack(time.time() + seconds) + payload
    return key, _milliseconds(seconds), most, element


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _pattern(prefix: str) -> str:
    """Return the glob pattern of Redis for keys that begin with a prefix."""
    return re.sub(r"([*?\[\]\\^-])", r"\\\1", prefix) + "*"
