"""The messages that wait for the readers of one channel, and the readers that wait for messages."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from .calls import Signal

__all__ = ["Inbox", "Waiter"]

T = TypeVar("T")

_NOTHING: Any = object()


class Waiter(Generic[T]):
    """A reader that waits for a message, or has got one."""

    __slots__ = ("error", "item", "signal")

    def __init__(self) -> None:
        self.item: T = cast(T, _NOTHING)
        self.error: Exception | None = None
        self.signal: Signal | None = None


class Inbox(Generic[T]):
    """A queue of messages with any number of readers, in threads, greenlets and asyncio loops.

    A message is given to the reader that has waited longest, and to no other.

    Args:
        lock: protects the inbox. Except for `wait`, the caller of a method holds it.

    Attributes:
        items: the messages that no reader has got.
        waiting: the number of readers that have got no message.
        readers: the number of readers, including those that have got one just now.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self.items: deque[T] = deque()
        self.readers = 0
        self._lock = lock
        self._waiters: deque[Waiter[T]] = deque()
        self._error: Callable[[], Exception] | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    def put(self, item: T) -> None:
        """Give a message to a reader, or add it to the queue."""
        if not self._give(item):
            self.items.append(item)

    def fail(self, error: Callable[[], Exception]) -> None:
        """Raise an exception in each reader that waits, else in the next one."""
        if not self._waiters:
            self._error = error
        for waiter in self._waiters:
            waiter.error = error()
            _wake(waiter)
        self._waiters.clear()

    def ask(self) -> Waiter[T]:
        """Return a waiter for `wait`, which has a message if there is one."""
        self.readers += 1
        waiter: Waiter[T] = Waiter()
        if self._error is not None:
            waiter.error, self._error = self._error(), None
        elif self.items:
            waiter.item = self.items.popleft()
        else:
            waiter.signal = Signal()
            self._waiters.append(waiter)
        return waiter

    async def wait(self, waiter: Waiter[T]) -> T:
        """Return the message for a waiter; a message that a cancelled reader has got stays."""
        try:
            if waiter.signal is not None:
                await waiter.signal.wait()
        except BaseException:
            with self._lock:
                self.readers -= 1
                if waiter.item is not _NOTHING:
                    if not self._give(waiter.item):
                        self.items.appendleft(waiter.item)
                elif waiter.error is None:
                    self._waiters.remove(waiter)
            raise
        with self._lock:
            self.readers -= 1
        if waiter.error is not None:
            raise waiter.error
        return waiter.item

    def _give(self, item: T) -> bool:
        if not self._waiters:
            return False
        waiter = self._waiters.popleft()
        waiter.item = item
        _wake(waiter)
        return True


def _wake(waiter: Waiter[Any]) -> None:
    cast(Signal, waiter.signal).set()
