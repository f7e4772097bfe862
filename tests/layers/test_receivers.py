"""The subscribers of the hub for layers: rare orders of events."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent
import pytest

from wsredis import Config
from wsredis.brokers.memory.broker import MemoryBroker
from wsredis.brokers.queues import Item
from wsredis.exceptions import BrokerUnavailable
from wsredis.layers.receivers import QueueReader, Receiver, split
from wsredis.message import Message
from wsredis.process import Process

from .support import run


class Queue:
    """A queue with some messages."""

    def __init__(self, *payloads: bytes) -> None:
        self.items = [Item(time.time() + 60, payload) for payload in payloads]
        self.returned: list[bytes] = []
        self.on_take: Callable[[], None] = lambda: None
        self.on_put_back: Callable[[], None] = lambda: None

    def take(self, key: str) -> Item | None:
        item = self.items.pop(0) if self.items else None
        self.on_take()
        return item

    def put_back(self, key: str, items: Sequence[Item]) -> None:
        self.on_put_back()
        self.returned += [item.payload for item in items]


@pytest.fixture
def process() -> Iterator[Process]:
    made = Process(Config(), MemoryBroker())
    yield made
    made.close()


def reader_of(process: Process, queue: Any) -> QueueReader:
    return QueueReader(process, queue, "key", threading.Lock())


def at_rest(process: Process, reader: QueueReader) -> None:
    """Wait until a reader has nothing to do."""

    def wait() -> None:
        while reader._news is not None:
            gevent.sleep(0.001)

    process.loop.run(wait)


def test_the_messages_of_several_reads_are_told_apart() -> None:
    got: list[tuple[bytes, bytes]] = []
    receiver = Receiver(lambda *pair: got.append(pair), lambda reason: None, lambda: None)
    messages = [Message("a", b"one"), Message("Zoë", b""), Message("a", b"\x00" * 300, True)]
    encoded = [receiver.encoding.encode(message) for message in messages]
    assert not any(map(receiver.encoding.is_costly, messages))
    receiver.on_partial_write(0, b"".join(encoded))
    assert got == [(m.channel.encode(), m.payload) for m in messages]
    assert list(split(b"")) == []


def test_a_reader_that_nobody_waits_for_reads_nothing(process: Process) -> None:
    queue = Queue(b"message")
    reader = reader_of(process, queue)
    process.loop.run(reader.start)
    at_rest(process, reader)
    assert len(queue.items) == 1


def test_a_caller_that_comes_while_messages_are_put_back_is_served(process: Process) -> None:
    queue = Queue(b"first", b"second")
    reader = reader_of(process, queue)
    waiters: list[Any] = []

    async def main() -> None:
        first = asyncio.create_task(reader.inbox.wait(reader.inbox.ask()))
        await asyncio.sleep(0)

        def cancel() -> None:  # the caller is cancelled while its message is taken
            queue.on_take = lambda: None
            loop.call_soon_threadsafe(first.cancel)
            cancelled.wait()

        def come() -> None:
            queue.on_put_back = lambda: None
            waiters.append(reader.inbox.ask())

        loop = asyncio.get_running_loop()
        cancelled = threading.Event()
        queue.on_take, queue.on_put_back = cancel, come
        process.loop.soon(reader.start)
        with pytest.raises(asyncio.CancelledError):
            await first
        cancelled.set()

    run(main())
    at_rest(process, reader)
    assert queue.returned == [b"first"]
    assert waiters[0].item.payload == b"second"


def test_messages_that_cannot_be_put_back_are_reported(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise BrokerUnavailable("Redis at host: gone")

    queue = Queue()
    queue.on_put_back = fail
    reader = reader_of(process, queue)
    reader.inbox.put(Item(0.0, b"message"))
    process.loop.run(reader.start)
    at_rest(process, reader)
    assert "1 messages of key are lost, as their readers were cancelled: Redis at" in caplog.text


def test_a_failure_without_a_waiting_caller_is_not_kept(process: Process) -> None:
    def fail() -> None:
        reader.inbox._waiters.clear()  # they were cancelled
        raise BrokerUnavailable("Redis at host: gone")

    queue = Queue()
    reader = reader_of(process, queue)
    queue.on_take = fail
    reader.inbox.ask()
    process.loop.run(reader.start)
    at_rest(process, reader)
    assert reader.inbox._error is None


def test_a_failure_of_a_reader_at_rest_wakes_nothing(process: Process) -> None:
    reader = reader_of(process, Queue())
    waiter = reader.inbox.ask()
    process.loop.run(reader._fail, BrokerUnavailable("closed"))
    assert str(waiter.error) == "closed"
    assert reader._news is None
