"""Values that are put for one who takes them, asked of every broker there is."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator

import gevent
import pytest
import redis

from wsredis.brokers import Broker
from wsredis.brokers.memory import MemoryBroker
from wsredis.brokers.redis import RedisBroker
from wsredis.config import Config
from wsredis.embedded import EmbeddedRedis
from wsredis.exceptions import BrokerUnavailable

KEY = "ws:ticket:1"

# Redis before 6.2 lacks GETDEL; Debian's may be one of those.
INSTALLED = shutil.which("redis-server")


@pytest.fixture(scope="module")
def installed_redis() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(binary=INSTALLED) as server:
        yield server


@pytest.fixture(params=["memory", "redis", *(["installed"] if INSTALLED else [])])
def broker(request: pytest.FixtureRequest) -> Broker:
    if request.param == "memory":
        return MemoryBroker()
    fixture = "redis_server" if request.param == "redis" else "installed_redis"
    server: EmbeddedRedis = request.getfixturevalue(fixture)
    with redis.Redis(port=server.port) as admin:
        admin.flushall()
    return RedisBroker(Config(redis=server.url))


@pytest.mark.parametrize("value", [b"value", b"", b"\x00\xff{}", b"x" * 100_000])
def test_a_value_can_be_taken_once(broker: Broker, value: bytes) -> None:
    assert broker.take(KEY) is None
    broker.put(KEY, value, 100)
    assert broker.take(KEY) == value
    assert broker.take(KEY) is None


def test_a_value_has_a_key_of_its_own(broker: Broker) -> None:
    broker.put(KEY, b"one", 100)
    broker.put(KEY + "0", b"two", 100)
    assert broker.take(KEY) == b"one"
    assert broker.take(KEY + "0") == b"two"


def test_a_value_is_gone_after_its_seconds(
    broker: Broker, eventually: Callable[[Callable[[], object]], None]
) -> None:
    broker.put(KEY, b"value", 1)
    eventually(lambda: not broker.fetch([KEY]))
    assert broker.take(KEY) is None


def test_of_many_who_take_one_gets_it(broker: Broker) -> None:
    for round_ in range(20):
        broker.put(KEY, b"%d" % round_, 100)
        start = threading.Barrier(8)
        got: list[bytes | None] = []

        def take(start: threading.Barrier = start, got: list[bytes | None] = got) -> None:
            start.wait()
            got.append(broker.take(KEY))

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(value for value in got if value) == [b"%d" % round_]
        assert len(got) == 8


def test_it_works_in_a_greenlet_too(broker: Broker) -> None:
    gevent.spawn(broker.put, KEY, b"value", 100).get(timeout=30)
    assert gevent.spawn(broker.take, KEY).get(timeout=30) == b"value"


def test_a_redis_that_is_away_says_so(own_redis: EmbeddedRedis) -> None:
    broker = RedisBroker(Config(redis=own_redis.url))
    broker.put(KEY, b"value", 100)
    own_redis.stop()
    with pytest.raises(BrokerUnavailable):
        broker.take(KEY)
    with pytest.raises(BrokerUnavailable):
        broker.put(KEY, b"value", 100)
