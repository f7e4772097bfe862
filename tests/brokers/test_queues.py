"""The queues of channel layers, tested with all brokers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from wsredis.brokers.memory.broker import MemoryBroker
from wsredis.brokers.memory.queues import MemoryQueues
from wsredis.brokers.queues import Item, Queues
from wsredis.brokers.redis.queues import RedisQueues
from wsredis.embedded import EmbeddedRedis
from wsredis.exceptions import BrokerUnavailable

from .support import AnyBroker, client_at

KEY = "asgi__queue__thumbnails"


@pytest.fixture
def queues(server: EmbeddedRedis | None, broker: AnyBroker) -> Queues:
    """Give each kind of queues, with nothing in them."""
    if server is None:
        assert isinstance(broker, MemoryBroker)
        return MemoryQueues(broker)
    return RedisQueues(client_at(server.url))


def payloads(queues: Queues, key: str = KEY) -> list[bytes]:
    """Take all messages of a queue."""
    return [item.payload for item in iter(lambda: queues.take(key), None)]


@pytest.fixture(params=["push", "apush"])
def push(request: pytest.FixtureRequest, queues: Queues) -> Callable[..., bool]:
    """Give a function that adds a message in each way."""

    def push(payload: bytes, most: int = 10, seconds: float = 60, key: str = KEY) -> bool:
        if request.param == "push":
            return queues.push(key, payload, most, seconds)
        return asyncio.run(queues.apush(key, payload, most, seconds))

    return push


def test_messages_are_taken_in_order_and_once(queues: Queues, push: Callable[..., bool]) -> None:
    assert queues.take(KEY) is None
    for payload in (b"one", b"", b"\x00\xff" * 1000):
        assert push(payload)
    assert push(b"other", key=KEY + "0")
    assert payloads(queues) == [b"one", b"", b"\x00\xff" * 1000]
    assert payloads(queues, KEY + "0") == [b"other"]


def test_a_full_queue_takes_nothing(queues: Queues, push: Callable[..., bool]) -> None:
    assert [push(b"%d" % number, most=2) for number in range(3)] == [True, True, False]
    assert push(b"3", most=3)
    assert payloads(queues) == [b"0", b"1", b"3"]


def test_a_message_expires_and_no_other_with_it(queues: Queues, push: Callable[..., bool]) -> None:
    push(b"old", seconds=0.01)
    push(b"new")
    push(b"old", seconds=0.01)
    push(b"newer")
    time.sleep(0.02)
    assert payloads(queues) == [b"new", b"newer"]


def test_a_message_says_when_it_expires(queues: Queues) -> None:
    before = time.time()
    queues.push(KEY, b"message", 10, 60)
    item = queues.take(KEY)
    assert item is not None
    assert before + 60 <= item.until <= time.time() + 60


def test_messages_are_put_back_to_the_beginning(queues: Queues) -> None:
    for payload in (b"one", b"two", b"three"):
        queues.push(KEY, payload, 10, 60)
    items = [queues.take(KEY), queues.take(KEY)]
    queues.put_back(KEY, [item for item in items if item is not None])
    assert payloads(queues) == [b"one", b"two", b"three"]


def test_an_expired_message_that_is_put_back_is_not_taken(queues: Queues) -> None:
    queues.put_back(KEY, [Item(time.time() - 1, b"old"), Item(time.time() + 60, b"new")])
    assert payloads(queues) == [b"new"]
    queues.put_back(KEY, [Item(time.time() - 1, b"old")])
    assert payloads(queues) == []


@pytest.mark.parametrize("asynchronous", [False, True])
def test_all_queues_with_a_prefix_are_deleted(queues: Queues, asynchronous: bool) -> None:
    for key in ("site[1]*__a", "site[1]*__b", "site1__c", "other"):
        queues.push(key, b"message", 10, 60)
    if asynchronous:
        asyncio.run(queues.aclear("site[1]*__"))
    else:
        queues.clear("site[1]*__")
    assert [len(payloads(queues, key)) for key in ("site[1]*__a", "site[1]*__b")] == [0, 0]
    assert [len(payloads(queues, key)) for key in ("site1__c", "other")] == [1, 1]


def test_waiting_readers_are_woken(
    queues: Queues, broker: AnyBroker, listen: Any, push: Callable[..., bool]
) -> None:
    listener = listen(broker)
    listener.subscribe(KEY)
    push(b"one")
    listener.wait_for("")
    item = queues.take(KEY)
    assert item is not None
    queues.put_back(KEY, [item])
    listener.wait_for("", "")


def test_of_many_who_take_each_gets_another_message(queues: Queues) -> None:
    for number in range(40):
        queues.push(KEY, b"%d" % number, 100, 60)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: queues.take(KEY), range(48)))
    assert sorted(int(item.payload) for item in taken if item is not None) == [*range(40)]


def test_the_queues_of_one_memory_broker_are_the_same() -> None:
    one, other = MemoryBroker(), MemoryBroker()
    assert MemoryQueues.of(one) is MemoryQueues.of(one)
    assert MemoryQueues.of(one) is not MemoryQueues.of(other)


def test_a_queue_in_redis_expires_with_its_last_message(
    redis_server: EmbeddedRedis, redis_client: redis.Redis
) -> None:
    queues = RedisQueues(client_at(redis_server.url))
    queues.push(KEY, b"one", 10, 100)
    queues.put_back(KEY, [Item(time.time() + 10, b"earlier")])
    assert 90_000 < redis_client.pttl(KEY) <= 100_000
    queues.put_back(KEY, [Item(time.time() + 200, b"later"), Item(time.time() + 1, b"soon")])
    assert 190_000 < redis_client.pttl(KEY) <= 200_000


def test_a_foreign_element_of_a_list_is_skipped(
    redis_server: EmbeddedRedis, redis_client: redis.Redis
) -> None:
    queues = RedisQueues(client_at(redis_server.url))
    redis_client.rpush(KEY, b"", b"short")
    queues.push(KEY, b"message", 10, 60)
    assert [payload for payload in payloads(queues) if payload] == [b"message"]


def test_without_redis_everything_says_so(own_redis: EmbeddedRedis) -> None:
    queues = RedisQueues(client_at(own_redis.url, 1.0))
    own_redis.stop()
    for call in (
        lambda: queues.push(KEY, b"", 1, 1),
        lambda: asyncio.run(queues.apush(KEY, b"", 1, 1)),
        lambda: queues.take(KEY),
        lambda: queues.put_back(KEY, [Item(0.0, b"")]),
        lambda: queues.clear(KEY),
        lambda: asyncio.run(queues.aclear(KEY)),
    ):
        with pytest.raises(BrokerUnavailable, match="Redis at"):
            call()
