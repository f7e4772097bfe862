"""One-time values, tested with all stores."""

from __future__ import annotations

import threading
import time

import gevent
import pytest

from wsredis.brokers import Store
from wsredis.embedded import EmbeddedRedis
from wsredis.exceptions import BrokerUnavailable

from .support import store_at

KEY = "ws:ticket:1"


@pytest.mark.parametrize("value", [b"value", b"", b"\x00\xff{}", b"x" * 100_000])
def test_a_value_can_be_taken_once(store: Store, value: bytes) -> None:
    assert store.take(KEY) is None
    store.put(KEY, value, 100)
    assert store.take(KEY) == value
    assert store.take(KEY) is None


def test_a_value_has_a_key_of_its_own(store: Store) -> None:
    store.put(KEY, b"one", 100)
    store.put(KEY + "0", b"two", 100)
    assert store.take(KEY) == b"one"
    assert store.take(KEY + "0") == b"two"


def test_a_value_is_gone_after_its_seconds_and_no_other_with_it(store: Store) -> None:
    store.put(KEY, b"value", 1)
    store.put(KEY + "0", b"later", 100)
    time.sleep(1.1)
    assert store.take(KEY) is None
    assert store.take(KEY + "0") == b"later"


def test_a_value_that_is_put_again_is_the_new_one_for_its_own_time(store: Store) -> None:
    store.put(KEY, b"one", 1)
    store.put(KEY, b"two", 100)
    time.sleep(1.1)
    assert store.take(KEY) == b"two"


def test_of_many_who_take_one_gets_it(store: Store) -> None:
    for round_ in range(20):
        store.put(KEY, b"%d" % round_, 100)
        start = threading.Barrier(8)
        got: list[bytes | None] = []

        def take(start: threading.Barrier = start, got: list[bytes | None] = got) -> None:
            start.wait()
            got.append(store.take(KEY))

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(value for value in got if value) == [b"%d" % round_]
        assert len(got) == 8


def test_it_works_in_a_greenlet_too(store: Store) -> None:
    gevent.spawn(store.put, KEY, b"value", 100).get(timeout=30)
    assert gevent.spawn(store.take, KEY).get(timeout=30) == b"value"


def test_a_redis_that_is_unavailable_says_so(own_redis: EmbeddedRedis) -> None:
    store = store_at(own_redis.url)
    store.put(KEY, b"value", 100)
    own_redis.stop()
    with pytest.raises(BrokerUnavailable):
        store.take(KEY)
    with pytest.raises(BrokerUnavailable):
        store.put(KEY, b"value", 100)
