"""The census counts all kinds of leaks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import pytest
from websockets.frames import Opcode

from wsredis.brokers import broker_for
from wsredis.brokers.memory.broker import MemoryBroker
from wsredis.config import Config
from wsredis.process import Process

from ..place import CHANNEL, Place, until
from .census import containers, rooms
from .parts.verdict import MAY_GROW


class Room:
    __slots__ = ("_buckets", "_of", "_unacked", "flag", "text", "waiting")


def test_the_elements_of_containers_are_counted() -> None:
    room = Room()
    room._buckets = [{1, 2}, set(), {3}]
    room._of = {"a": 7}
    room._unacked = 512
    room.text = "a str is not counted"
    room.waiting = deque([1, 2])
    room.flag = True
    found = dict(containers(room))
    assert found == {"_buckets": 3, "_of": 1, "_unacked": 512, "waiting": 2}


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process(Config(redis="memory://census"), MemoryBroker())
    yield process
    process.close()


def test_a_hub_holds_nothing_after_its_websockets(
    places: Callable[..., Place],
) -> None:
    place = places()

    def held() -> dict[str, int]:
        return {
            f"{type(room).__name__}.{name}": size
            for room in (*rooms(place.hub), place.receivers)
            for name, size in containers(room)
        }

    def talk() -> dict[str, int]:
        """Open a websocket, send a message and disconnect; return what was held meanwhile."""
        client, connection, _ = place.connect(CHANNEL)
        client.send(Opcode.TEXT, b"hello")
        until(lambda: place.run(lambda: connection.received) == 1)
        full = held()
        place.run(connection.abort)
        client.sock.close()
        return full

    talk()  # after which the control channel is subscribed to, and a receiver is spare
    empty = held()
    full = talk()
    more = {name for name in full if full[name] > empty[name]}
    assert more >= {"Hub._channels", "Keepalive._buckets", "Limits.count", "MemoryFeed.channels"}
    assert held() == empty


def test_all_parts_of_a_process_are_found(process: Process) -> None:
    names = {type(room).__name__ for room in rooms(process)}
    assert names >= {"Process", "Hub", "Limits", "Expiry", "Keepalive", "Dispatch", "Gaps"}
    assert names >= {"MemoryFeed", "MemoryBroker", "Receivers"}
    assert not {"Config", "Loop"} & names


def test_the_parts_that_may_grow_exist(process: Process) -> None:
    with_redis = rooms(broker_for(Config(redis="redis://127.0.0.1:1")))  # it does not connect yet
    there = {
        f"{type(room).__name__}.{name}"
        for room in [*rooms(process), *with_redis]
        for name, _ in containers(room)
    }
    assert {name for name in MAY_GROW if "." in name} <= there
