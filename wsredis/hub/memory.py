"""The memory that the send buffers and the unfinished messages of a process take, and its limit.

Each subscriber has limits of its own; this one is for all of them together. Above it, those that
take most are closed.

Invariants:

* ``total`` is what is counted for the chunks in ``_chunks`` and the subscribers in ``_unfinished``.
* A chunk is in ``_chunks``, with the number of send buffers that contain it, exactly while one of
  them does. It exists once, so it counts once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from operator import itemgetter

import gevent

from ..config import Config
from ..protocol.closing import MESSAGE_TIMEOUT, SLOW
from ..runtime.logs import get_logger
from ..runtime.loop import NEXT_TURN
from .stats import HubStats
from .steps import in_steps
from .subscriber import Client

__all__ = ["OVERHEAD", "BufferMemory"]

log = get_logger("wsredis.memory")

_weight = itemgetter(0)

OVERHEAD = 128
"""Bytes counted for a chunk in a send buffer besides its own: objects and a place in the queue."""


class BufferMemory:
    """The memory of the send buffers and the unfinished messages of a process.

    Args:
        config: the options, for the limits.
        stats: the counters, for closed subscribers.
        subscribers: returns all subscribers of the process, including joining ones.

    Attributes:
        total: number of bytes.
        waiting: number of bytes that wait in send buffers, counted in each of them.
    """

    def __init__(
        self, config: Config, stats: HubStats, subscribers: Callable[[], Iterable[Client]]
    ) -> None:
        self.total = 0
        self.waiting = 0
        self._limit = config.max_buffer_memory
        self._timeout = config.message_timeout
        self._stats = stats
        self._subscribers = subscribers
        self._chunks: dict[int, int] = {}
        self._unfinished: dict[Client, tuple[int, float]] = {}
        self._relieving = False

    def add(self, chunk: bytes) -> None:
        """Count a chunk that is put into a send buffer."""
        key = id(chunk)
        buffers = self._chunks.get(key, 0)
        self._chunks[key] = buffers + 1
        self.total += OVERHEAD + (0 if buffers else len(chunk))
        if self.total > self._limit:
            self._relieve()

    def remove(self, chunk: bytes) -> None:
        """Count a chunk out that a send buffer does not contain any more."""
        key = id(chunk)
        buffers = self._chunks.pop(key)
        if buffers > 1:
            self._chunks[key] = buffers - 1
        self.total -= OVERHEAD + (0 if buffers > 1 else len(chunk))

    def hold(self, subscriber: Client, size: int) -> None:
        """Count the bytes of a message that its client has not finished."""
        before, deadline = self._unfinished.get(subscriber, (0, 0.0))
        deadline = deadline or time.monotonic() + self._timeout
        self._unfinished[subscriber] = size, deadline
        self.total += size - before
        if self.total > self._limit:
            self._relieve()

    def release(self, subscriber: Client) -> None:
        """Count a message out that is finished, or whose client has ended."""
        self.total -= self._unfinished.pop(subscriber, (0, 0.0))[0]

    def sweep(self) -> Iterator[None]:
        """Close clients that have not finished a message in time, except while they are paused."""
        now = time.monotonic()
        late = []
        for subscriber, (_, deadline) in self._unfinished.items():
            if deadline > now:
                break  # the others are newer
            late.append(subscriber)
        for step in in_steps(late):
            for subscriber in step:
                size, deadline = self._unfinished.get(subscriber, (0, math.inf))
                if deadline > now:
                    continue  # it has finished the message meanwhile, or ended
                del self._unfinished[subscriber]
                self._unfinished[subscriber] = size, now + self._timeout
                if not subscriber.paused:
                    self._stats.timeouts += 1
                    subscriber.close(MESSAGE_TIMEOUT.code, MESSAGE_TIMEOUT.reason)
            yield

    def _relieve(self) -> None:
        if not self._relieving:
            self._relieving = True
            gevent.spawn(self._close_heaviest)

    def _close_heaviest(self) -> None:
        """Close the subscribers that take most, until an eighth of the memory is free again."""
        try:
            log.warning("send buffers and unfinished messages take %d bytes", self.total)
            sorted_steps = []
            for step in in_steps(self._subscribers()):
                weights = [(weight, each) for each in step if (weight := each.buffered)]
                sorted_steps.append(sorted(weights, key=_weight, reverse=True))
                gevent.sleep(NEXT_TURN)
            for heaviest in in_steps(merge(*sorted_steps, key=_weight, reverse=True)):
                for weight, subscriber in heaviest:
                    if self.total <= self._limit - self._limit // 8:
                        return
                    self._stats.slow_consumers += subscriber.kick(SLOW.code, SLOW.reason)
                    # What remains is a message that it is sending, or it was closing already.
                    if subscriber.buffered > weight // 2:
                        subscriber.abort()
                gevent.sleep(NEXT_TURN)
        finally:
            self._relieving = False
