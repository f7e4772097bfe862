"""The memory broker only: a clock that a test sets, and names."""

from __future__ import annotations

from typing import Any

import pytest

from wsredis.brokers.memory.broker import MemoryBroker
from wsredis.brokers.memory.store import MemoryStore

NEWS, CHAT = "ws:broadcast:news", "ws:broadcast:chat"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker(clock: Clock) -> MemoryBroker:
    return MemoryBroker(clock)


def test_what_is_retained_expires(broker: MemoryBroker, clock: Clock, listen: Any) -> None:
    broker.publish([NEWS], b"short", 5)
    broker.publish([CHAT], b"long", 60)
    clock.now += 4.9
    assert [message.data for message in broker.fetch([NEWS, CHAT])] == ["short", "long"]
    clock.now += 0.1
    assert [message.data for message in broker.fetch([NEWS, CHAT])] == ["long"]
    assert listen(broker).subscribe(NEWS, CHAT) == ["long"]


def test_a_new_message_begins_a_new_time(broker: MemoryBroker, clock: Clock) -> None:
    broker.publish([NEWS], b"one", 5)
    clock.now += 4
    broker.publish([NEWS], b"two", 5)
    clock.now += 4
    assert [message.data for message in broker.fetch([NEWS])] == ["two"]


def test_what_has_expired_does_not_fill_the_memory(broker: MemoryBroker, clock: Clock) -> None:
    for number in range(5000):
        broker.publish([f"ws:user:{number}:news"], b"x", 5)
        clock.now += 1
    assert len(broker._retained) <= 1001
    broker.publish([NEWS], b"hello", 5)
    assert [message.data for message in broker.fetch([NEWS])] == ["hello"]


def test_values_that_nobody_takes_do_not_fill_the_memory_either(clock: Clock) -> None:
    store = MemoryStore(clock)
    for number in range(5000):
        store.put(f"ws:ticket:{number}", b"x", 5)
        clock.now += 1
    assert len(store._values) <= 1001
    assert store.take("ws:ticket:4999") == b"x"


@pytest.mark.parametrize("kind", [MemoryBroker, MemoryStore])
def test_those_of_one_name_are_one(kind: type[MemoryBroker | MemoryStore]) -> None:
    assert kind.named("memory://a") is kind.named("memory://a")
    assert kind.named("memory://a") is not kind.named("memory://b")


def test_brokers_know_nothing_of_each_other(listen: Any) -> None:
    one, other = MemoryBroker(), MemoryBroker()
    listener = listen(one)
    listener.subscribe(NEWS)
    assert other.publish([NEWS], b"elsewhere", 60) == 0
    assert one.fetch([NEWS]) == []
    one.publish([NEWS], b"here", 0)
    listener.wait_for("here")
