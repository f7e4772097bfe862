"""Support for tests of brokers that connect to Redis."""

from __future__ import annotations

from typing import Any

from wsredis.brokers.memory.broker import MemoryBroker
from wsredis.brokers.redis.broker import RedisBroker
from wsredis.brokers.redis.client import RedisClient
from wsredis.brokers.redis.store import RedisStore
from wsredis.config import Config

SECONDS = 30.0

AnyBroker = MemoryBroker | RedisBroker
"""Either of them keeps logs, too: see `wsredis.brokers.Log`."""


def client_at(where: Any, deadline: float = SECONDS) -> RedisClient:
    return RedisClient(Config(redis=where, redis_deadline=deadline, publish_timeout=deadline))


def broker_at(where: Any, deadline: float = SECONDS) -> RedisBroker:
    return RedisBroker(client_at(where, deadline))


def store_at(where: Any) -> RedisStore:
    return RedisStore(client_at(where))
