"""Fixtures for the tests of channel layers: ours, and those of Channels for comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis
from channels.layers import InMemoryChannelLayer as TheirMemoryLayer
from channels_redis.pubsub import RedisPubSubChannelLayer as TheirRedisLayer

import wsredis.process
from wsredis import Config
from wsredis.config import sources
from wsredis.embedded import EmbeddedRedis
from wsredis.layers import InMemoryChannelLayer, RedisChannelLayer

OURS = ["memory", "redis", "redis-in-memory"]

MakeLayer = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Close the hubs that layers have started."""
    yield
    for process in list(wsredis.process._processes):
        process.close()


@pytest.fixture
def layers(redis_url: str, redis_client: redis.Redis) -> Iterator[Callable[..., RedisChannelLayer]]:
    """Give a function that makes layers over an empty Redis."""
    made: list[RedisChannelLayer] = []

    def make(**options: Any) -> RedisChannelLayer:
        made.append(RedisChannelLayer(**{"hosts": [redis_url], **options}))
        return made[-1]

    with ExitStack() as ends:
        yield make
        for layer in made:
            ends.callback(layer.close)


def _make(kind: str, redis_url: str, options: dict[str, Any]) -> Any:
    if kind == "memory":
        return InMemoryChannelLayer(**options)
    if kind == "channels":
        return TheirMemoryLayer(**options)
    if kind == "channels_redis":
        return TheirRedisLayer(hosts=[redis_url], **options)
    hosts = [redis_url] if kind == "redis" else [f"memory://{id(options)}"]
    return RedisChannelLayer(hosts=hosts, **options)


@pytest.fixture(params=[*OURS, "channels", "channels_redis"])
def any_layer(
    request: pytest.FixtureRequest, redis_url: str, redis_client: redis.Redis
) -> MakeLayer:
    """Give a function that makes a layer of each kind."""
    return lambda **options: _make(request.param, redis_url, options)


@pytest.fixture(params=OURS)
def our_layer(
    request: pytest.FixtureRequest, redis_url: str, redis_client: redis.Redis
) -> MakeLayer:
    """Give a function that makes a layer of each of our kinds."""
    return lambda **options: _make(request.param, redis_url, options)


@pytest.fixture(params=[*OURS, "channels"])
def queue_layer(
    request: pytest.FixtureRequest, redis_url: str, redis_client: redis.Redis
) -> MakeLayer:
    """Give a function that makes a layer of each kind with general channels that are queues."""
    return lambda **options: _make(request.param, redis_url, options)


@pytest.fixture
def own_site(own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> EmbeddedRedis:
    """Give the Redis of a site, whose options are configured."""
    monkeypatch.setattr(sources, "_current", Config(redis=own_redis.url, redis_deadline=2.0))
    return own_redis
