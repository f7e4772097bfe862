"""Where the hub's gevent loop runs.

Under a gevent server it is the server's own loop, and what the hub does happens beside the
requests. Under a threaded server it is the loop of one background thread. Nothing else differs:
`Loop.run` calls into it from wherever a request is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
import gevent.monkey
from gevent.hub import Hub as GeventHub

__all__ = ["NEXT_TURN", "READ", "WRITE", "Loop", "TimeLimit", "in_gevent"]

NEXT_TURN = 1e-6
"""Seconds until work goes on that has yielded; 0 would be a callback, which goes before sockets."""

READ, WRITE = 1, 2
"""Events of a gevent io watcher."""

T = TypeVar("T")

_thread_ident: Callable[[], int] = gevent.monkey.get_original("_thread", "get_ident")
"""The system's thread: patched, the standard function tells greenlets apart."""


def in_gevent() -> bool:
    """Return whether the caller is a greenlet of a running gevent loop."""
    return isinstance(getattr(gevent.getcurrent(), "parent", None), GeventHub)


class TimeLimit:
    """A TimeoutError after so many seconds; where a thread does the work, only at its end.

    A greenlet is interrupted wherever it yields, by a `gevent.Timeout`, which is no `Exception`
    and so passes what code does about its own errors. Nothing can interrupt a thread, or code
    that holds up the loop.
    """

    __slots__ = ("_limit", "_seconds", "_until")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._until = time.monotonic() + self._seconds
        self._limit = gevent.Timeout.start_new(self._seconds) if in_gevent() else None

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        if self._limit is not None:
            self._limit.close()
        mine = exc is not None and exc is self._limit
        late = time.monotonic() > self._until
        if mine or (late and isinstance(exc, Exception | gevent.Timeout | None)):
            raise TimeoutError from exc


class Loop:
    """One gevent loop, usable from any thread.

    Make it where the hub is made: in a greenlet it takes the loop that runs that greenlet, in a
    plain thread it starts a background thread with a loop of its own.
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
        awake.start(lambda: None)  # keeps the loop alive while nobody is connected
        ready.set()
        gevent.get_hub().join()

    @property
    def is_here(self) -> bool:
        """Return whether the caller runs on this loop's thread."""
        return _thread_ident() == self.thread

    @property
    def fits(self) -> bool:
        """Return whether a loop made by the caller would be this one, or as good.

        In a greenlet it is the loop that runs it, elsewhere any background one.
        """
        return self.gevent is gevent.get_hub().loop if in_gevent() else not self.native

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the loop's next turn, from any thread; it must not block."""
        self.gevent.run_callback_threadsafe(function, *args)

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function, which may block, in a greenlet of its own; only from the loop."""
        gevent.spawn(function, *args)

    def run(self, function: Callable[..., T], *args: Any, timeout: float | None = None) -> T:
        """Call a function, which may block, in a greenlet of the loop and return its result.

        Raises:
            TimeoutError: it took longer than ``timeout`` seconds; it goes on by itself.
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
