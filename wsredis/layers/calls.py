"""Methods for asyncio and for other code, and signals to callers that wait.

The methods of a layer are coroutine functions that suspend only where an asyncio loop is running.
Called without one, they are run to their end at once, and block the thread or the greenlet.
"""

from __future__ import annotations

import inspect
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Generator
from functools import partial, wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import gevent
import gevent.monkey
from gevent.event import Event

from ..runtime.loop import Loop, in_gevent

__all__ = ["Finished", "Signal", "allocate_lock", "mark", "run_on", "running_loop", "sync_or_async"]

P = ParamSpec("P")
T = TypeVar("T")
Self = TypeVar("Self")

allocate_lock: Callable[[], threading.Lock] = gevent.monkey.get_original("_thread", "allocate_lock")
"""Makes a lock of the operating system. It must not be held while waiting; unlike a patched lock,
a greenlet and a thread can share it."""


def running_loop() -> Any:
    """Return the asyncio loop that runs the caller, or None."""
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Finished(Coroutine[Any, Any, T], Generic[T]):
    """The result of a call that is finished; it can be awaited, and need not be."""

    def __init__(self, value: T) -> None:
        self._value = value

    def result(self) -> T:
        """Return the result."""
        return self._value

    def __await__(self) -> Generator[Any, None, T]:
        yield from ()
        return self._value

    def send(self, value: Any) -> Any:
        raise StopIteration(self._value)

    def throw(self, error: Any, *rest: Any) -> Any:
        raise error

    def close(self) -> None:
        """Do nothing: there is nothing to end."""


def sync_or_async(
    method: Callable[Concatenate[Self, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Self, P], Coroutine[Any, Any, T]]:
    """Make a method run at once where no asyncio loop is running; it returns `Finished` then."""

    @wraps(method)
    def call(self: Self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        coroutine = method(self, *args, **kwargs)
        return Finished(next(_result(coroutine))) if running_loop() is None else coroutine

    return call


def _result(coroutine: Coroutine[Any, Any, T]) -> Generator[T, None, None]:
    yield (yield from coroutine.__await__())


def mark(function: Callable[..., Any]) -> None:
    """Mark a function as one that returns an awaitable, as ``async_to_sync`` of asgiref expects."""
    marker = getattr(inspect, "markcoroutinefunction", _mark)  # Python 3.12
    marker(function)


def _mark(function: Any) -> None:
    import asyncio.coroutines as coroutines

    function._is_coroutine = coroutines._is_coroutine  # type: ignore[attr-defined]


class _Waker:
    """The futures of one asyncio loop that are to be set: many with one wake-up of the loop."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._futures: list[Any] = []

    def wake(self, future: Any) -> None:
        with self._lock:
            self._futures.append(future)
            if len(self._futures) > 1:
                return
        try:
            future.get_loop().call_soon_threadsafe(self._run)
        except RuntimeError:  # the loop is closed
            self._futures = []

    def _run(self) -> None:
        with self._lock:
            futures, self._futures = self._futures, []
        for future in futures:
            if not future.done():
                future.set_result(None)


_wakers: weakref.WeakKeyDictionary[Any, _Waker] = weakref.WeakKeyDictionary()
_wakers_lock = allocate_lock()


def _after_fork() -> None:
    """Reset the state in a child: another thread may have held the lock."""
    global _wakers_lock
    _wakers_lock = allocate_lock()
    _wakers.clear()


os.register_at_fork(after_in_child=_after_fork)


class Signal:
    """A signal to the caller that has made it: an asyncio task, a greenlet or a thread.

    Attributes:
        set: sets the signal, once; callable from any thread.
    """

    __slots__ = ("_future", "_wait", "set")

    def __init__(self) -> None:
        self.set: Callable[[], Any]
        loop = running_loop()
        if loop is not None:
            with _wakers_lock:
                waker = _wakers.get(loop) or _wakers.setdefault(loop, _Waker())
            self._future = loop.create_future()
            self.set = partial(waker.wake, self._future)
            return
        self._future = None
        self._wait: Callable[[], Any]
        if in_gevent():
            event = Event()
            self._wait = event.wait
            self.set = partial(gevent.get_hub().loop.run_callback_threadsafe, event.set)
        else:
            real = threading.Event()
            self._wait = real.wait
            self.set = real.set

    async def wait(self) -> None:
        """Wait until the signal is set."""
        if self._future is not None:
            await self._future
        else:
            self._wait()


async def run_on(loop: Loop, function: Callable[..., T], *args: Any) -> T:
    """Call a function, which may block, in a greenlet of a loop and return its result.

    If the caller is cancelled, the function continues.
    """
    if running_loop() is None:
        return loop.run(function, *args)
    signal = Signal()
    outcome: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        try:
            outcome.append((function(*args), None))
        except BaseException as exc:
            outcome.append((None, exc))
        signal.set()

    loop.soon(loop.spawn, work)
    await signal.wait()
    value, error = outcome[0]
    if error is not None:
        raise error
    result: T = value
    return result
