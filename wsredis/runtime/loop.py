"""The gevent loop of the hub.

Under a gevent server it is the server's own loop, which the hub shares with the requests. Under a
threaded server it is the loop of a background thread. `Loop.run` hides the difference: it calls a
function on the loop from any thread or greenlet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
import gevent.monkey
from gevent.hub import Hub as GeventHub

__all__ = ["NEXT_TURN", "READ", "WRITE", "Loop", "TimeLimit", "in_gevent", "iteration_age"]

NEXT_TURN = 1e-6
"""Seconds until work that has yielded continues; 0 would run it before events of sockets."""

READ, WRITE = 1, 2
"""Events of a gevent io watcher."""

T = TypeVar("T")

_thread_ident: Callable[[], int] = gevent.monkey.get_original("_thread", "get_ident")
"""Returns the id of the system thread; the monkey-patched function returns that of a greenlet."""


def in_gevent() -> bool:
    """Return whether the caller is a greenlet of a running gevent loop."""
    return isinstance(getattr(gevent.getcurrent(), "parent", None), GeventHub)


def iteration_age() -> float:
    """Return the seconds since the running gevent loop has last waited for events."""
    loop: Any = gevent.get_hub().loop
    began: float = loop.now()
    loop.update_now()
    age: float = loop.now() - began
    return age


class TimeLimit:
    """A context manager that raises TimeoutError after some seconds; in a thread only at its end.

    A greenlet is interrupted where it yields, by a `gevent.Timeout`. That is not an `Exception`, so
    ``except Exception`` in the code does not catch it. A thread, or code that blocks the loop,
    cannot be interrupted.

    Attributes:
        took: seconds that the code took; 0 until its end.
    """

    __slots__ = ("_limit", "_seconds", "_until", "took")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.took = 0.0

    def __enter__(self) -> None:
        self._until = time.monotonic() + self._seconds
        self._limit = gevent.Timeout.start_new(self._seconds) if in_gevent() else None

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        if self._limit is not None:
            self._limit.close()
        mine = exc is not None and exc is self._limit
        late = time.monotonic() - self._until
        self.took = late + self._seconds
        if mine or (late > 0 and isinstance(exc, Exception | gevent.Timeout | None)):
            raise TimeoutError from exc


class Loop:
    """One gevent loop, usable from any thread.

    Made in a greenlet, it is the loop that runs this greenlet. Made in a thread without a running
    loop, it starts a background thread with its own loop.
    """

    def __init__(self) -> None:
        self.native = in_gevent()
        if self.native:
            self._adopt()
        else:
            ready = threading.Event()
            threading.Thread(
                target=self._main, args=(ready,), name="wsredis-hub", daemon=True
            ).start()
            ready.wait()

    def _adopt(self) -> None:
        self.thread = _thread_ident()
        self.gevent: Any = gevent.get_hub().loop

    def _main(self, ready: threading.Event) -> None:
        self._adopt()
        awake = self.gevent.async_()
        awake.start(lambda: None)  # keeps the loop alive while no client is connected
        ready.set()
        gevent.get_hub().join()

    @property
    def is_here(self) -> bool:
        """Return whether the caller runs on this loop's thread."""
        return _thread_ident() == self.thread

    @property
    def fits(self) -> bool:
        """Return whether the caller can use this loop instead of making another.

        In a greenlet this is the loop that runs it, elsewhere any loop of a background thread.
        """
        return self.gevent is gevent.get_hub().loop if in_gevent() else not self.native

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function, which must not block, in the loop's next iteration; from any thread."""
        self.gevent.run_callback_threadsafe(function, *args)

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function, which may block, in a new greenlet; only from the loop's thread."""
        gevent.spawn(function, *args)

    def run(self, function: Callable[..., T], *args: Any, timeout: float | None = None) -> T:
        """Call a function, which may block, in a greenlet of the loop and return its result.

        Raises:
            TimeoutError: it took longer than ``timeout`` seconds; it continues to run.
        """
        if self.is_here:
            return function(*args)
        done = threading.Event()
        outcome: list[Any] = []

        def work() -> None:
            try:
                outcome.append((function(*args), None))
            except BaseException as exc:
                outcome.append((None, exc))
            done.set()

        self.soon(gevent.spawn, work)
        if not done.wait(timeout):
            raise TimeoutError
        value, error = outcome[0]
        if error is not None:
            raise error
        result: T = value
        return result
