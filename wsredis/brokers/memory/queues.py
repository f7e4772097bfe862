"""Queues inside one process (see `wsredis.brokers.queues`)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from ..queues import Item
from .broker import MemoryBroker

__all__ = ["MemoryQueues"]


class MemoryQueues:
    """Queues inside one process.

    Args:
        broker: carries the empty message that wakes readers.
        clock: returns the Unix time in seconds.
    """

    _named: ClassVar[dict[MemoryBroker, MemoryQueues]] = {}

    def __init__(self, broker: MemoryBroker, clock: Callable[[], float] = time.time) -> None:
        self._broker = broker
        self._clock = clock
        self._queues: dict[str, deque[Item]] = {}

    @classmethod
    def of(cls, broker: MemoryBroker) -> MemoryQueues:
        """Return the queues of this process that belong to a broker."""
        return cls._named.setdefault(broker, cls(broker))

    def push(self, key: str, payload: bytes, most: int, seconds: float) -> bool:
        with self._broker.lock:
            self._drop_expired(key)
            queue = self._queues.setdefault(key, deque())
            if len(queue) >= most:
                return False
            queue.append(Item(self._clock() + seconds, payload))
        self._broker.publish([key], b"", 0)
        return True

    async def apush(self, key: str, payload: bytes, most: int, seconds: float) -> bool:
        return self.push(key, payload, most, seconds)

    def take(self, key: str) -> Item | None:
        with self._broker.lock:
            self._drop_expired(key)
            if key not in self._queues:
                return None
            item = self._queues[key].popleft()
            self._drop_expired(key)
            return item

    def put_back(self, key: str, items: Sequence[Item]) -> None:
        with self._broker.lock:
            self._queues.setdefault(key, deque()).extendleft(reversed(items))
        self._broker.publish([key], b"", 0)

    def clear(self, prefix: str) -> None:
        with self._broker.lock:
            for key in [key for key in self._queues if key.startswith(prefix)]:
                del self._queues[key]

    async def aclear(self, prefix: str) -> None:
        self.clear(prefix)

    def _drop_expired(self, key: str) -> None:
        """Remove expired messages from the beginning, and an empty queue; hold the lock."""
        queue, now = self._queues.get(key, deque()), self._clock()
        while queue and queue[0].until <= now:
            queue.popleft()
        if not queue:
            self._queues.pop(key, None)
