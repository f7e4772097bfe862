"""The synchronous code of applications in a process that gevent has monkey-patched.

There, a thread is a greenlet, and the locks and futures of a `ThreadPoolExecutor`, which gevent has
replaced, cost more than a short handler. As all greenlets share one thread of the system, a
function can be given to another greenlet, and its result to the loop, without them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

from gevent.queue import SimpleQueue

__all__ = ["GreenletExecutor", "GreenletLoop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class GreenletExecutor(Executor):
    """A patched thread that runs the functions of a `GreenletLoop`, in their order.

    Args:
        call: calls a function on the loop, which is in the same thread of the system.
        name: the name of the thread.
    """

    def __init__(self, call: Callable[..., None], name: str) -> None:
        self._call = call
        self._queue: Any = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._started = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a function for code that is not on the `GreenletLoop`."""
        future: Future[T] = Future()
        self.start(future, partial(fn, *args, **kwargs))
        return future

    def start(self, future: asyncio.Future[T] | Future[T], function: Callable[[], T]) -> None:
        """Run a function, after those before it, and settle its future on the loop."""
        if not self._started:
            self._started = True
            self._thread.start()
        self._queue.put((future, function))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the thread after the functions that wait; return at once."""
        self._queue.put(None)

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            future, function = work
            if not future.cancelled():
                self._call(_settle, future, *_outcome(function))
            del work, future, function  # not kept while it waits


def _outcome(function: Callable[[], Any]) -> tuple[bool, Any]:
    """Return whether a function has returned, and the result or the exception."""
    try:
        return True, function()
    except StopIteration as exc:  # which no asyncio future can have
        error = RuntimeError("the function raised StopIteration")
        error.__cause__ = exc
        return False, error
    except BaseException as exc:  # also of a handler that calls sys.exit()
        return False, exc


def _settle(future: Any, returned: bool, outcome: Any) -> None:
    if future.cancelled():
        return
    if returned:
        future.set_result(outcome)
    else:
        future.set_exception(outcome)


class GreenletLoop(asyncio.SelectorEventLoop):
    """An asyncio loop that gives functions to a `GreenletExecutor`, or to any other executor."""

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        if not isinstance(executor, GreenletExecutor):
            return super().run_in_executor(executor, func, *args)
        future: asyncio.Future[T] = self.create_future()
        executor.start(future, partial(func, *args))
        return future
