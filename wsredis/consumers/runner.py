"""The runners of synchronous handlers, which may block.

In a process that gevent has monkey-patched, `GreenletRunner` runs them in greenlets on the loop of
the hub; elsewhere `ThreadRunner` runs them in threads. Both run one step of a run at a time, and
steps of different runs in any order.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import gevent

from ..runtime.logs import get_logger
from ..runtime.loop import NEXT_TURN

if TYPE_CHECKING:
    _Greenlet = gevent.Greenlet[..., Any]
else:  # the class itself has no parameters
    _Greenlet = gevent.Greenlet

__all__ = ["GreenletRunner", "Runnable", "Runner", "ThreadRunner"]

log = get_logger("wsredis.consumers")

TURN = 0.005
"""Seconds after which a greenlet that runs handlers lets other work of the loop run."""


class Runnable(Protocol):
    """Something with steps to run."""

    def step(self) -> None:
        """Do the next step; it may block, and must not raise."""


class Runner(Protocol):
    """What runs the steps."""

    def add(self, run: Runnable) -> None:
        """Let the next step of a run be done; it must not be waiting or running already."""

    def occupies_thread(self) -> bool:
        """Return whether the caller occupies one of a limited number of threads."""

    def close(self) -> None:
        """Run no more steps."""


class GreenletRunner:
    """A runner whose greenlets hand over to each other.

    One greenlet runs step after step. If a step blocks, another greenlet runs the others, and the
    first one stops after that step. So steps that do not block cost no switch. One greenlet without
    work is kept, as a new one costs more than a short step.

    Args:
        on_begin: called in a greenlet before the first of some steps.
        on_end: called in a greenlet after the last of them.

    Invariants:

    * ``_current`` is the greenlet that takes steps, and not None while steps wait.
    * ``_idle`` is a greenlet that waits for work, and never ``_current``.
    """

    def __init__(self, on_begin: Callable[[], None], on_end: Callable[[], None]) -> None:
        self._ready: deque[Runnable] = deque()
        self._current: _Worker | None = None
        self._idle: _Worker | None = None
        self._closed = False
        self._on_begin = on_begin
        self._on_end = on_end

    def add(self, run: Runnable) -> None:
        """Let the next step of a run be done; called on the loop."""
        if self._closed:
            return
        self._ready.append(run)
        if self._current is None:
            self._start()

    def occupies_thread(self) -> bool:
        """Return False: greenlets are made as needed."""
        return False

    def close(self) -> None:
        """Run no more steps."""
        self._closed = True
        self._ready.clear()
        worker, self._idle = self._idle, None
        if worker is not None:
            worker.kill(block=False)

    def _start(self) -> None:
        worker, self._idle = self._idle, None
        if worker is None:
            worker = _Worker(self)
            worker.start()
        else:
            gevent.get_hub().loop.run_callback(worker.switch)
        self._current = worker

    def hand_over(self) -> None:
        """Let another greenlet take the steps that wait; the current one is blocked."""
        self._current = None
        if self._ready:
            self._start()

    def forget(self, worker: _Worker) -> None:
        """Let another greenlet take the place of one that has ended, for any reason."""
        if self._idle is worker:
            self._idle = None
        if self._current is worker:
            self.hand_over()

    def work(self, worker: _Worker) -> None:
        """Take steps whenever some wait, until another greenlet is kept for that."""
        while True:
            self._on_begin()
            self._take_steps(worker)
            if self._current is worker:
                self._current = None
            self._on_end()
            if self._closed or self._idle is not None:
                return
            self._idle = worker
            gevent.get_hub().switch()

    def _take_steps(self, worker: _Worker) -> None:
        """Take steps until none waits, or another greenlet does."""
        ready = self._ready
        until = time.monotonic() + TURN
        while ready and self._current is worker:
            run = ready.popleft()
            worker.in_step = True
            run.step()
            worker.in_step = False
            if time.monotonic() > until and self._current is worker:
                gevent.sleep(NEXT_TURN)
                until = time.monotonic() + TURN


class _Worker(_Greenlet):
    """A greenlet of a `GreenletRunner`."""

    def __init__(self, runner: GreenletRunner) -> None:
        super().__init__()
        self.in_step = False
        self._runner = runner

    def _run(self) -> None:
        try:
            self._runner.work(self)
        finally:  # also if a `gevent.Timeout` that a handler has left running ends it
            self._runner.forget(self)

    def switch_out(self) -> None:
        """Hand over; called by gevent where a step blocks."""
        if self.in_step and self._runner._current is self:
            self._runner.hand_over()


class ThreadRunner:
    """A runner with a fixed number of threads, which are started at the first step.

    Args:
        count: the number of threads.
        on_end: called in a thread before it ends.
    """

    def __init__(self, count: int, on_end: Callable[[], None]) -> None:
        self._ready: SimpleQueue[Runnable | None] = SimpleQueue()
        self._count = count
        self._on_end = on_end
        self._closed = False
        self._threads: set[int] = set()
        self._started = 0
        self._starting = threading.Lock()

    def add(self, run: Runnable) -> None:
        """Let the next step of a run be done; called in any thread."""
        if self._closed:
            return
        if self._started < self._count:
            self._start()
        self._ready.put(run)

    def _start(self) -> None:
        with self._starting:
            if self._started < self._count:
                self._started += 1
                name = f"wsredis-consumer-{self._started}"
                threading.Thread(target=self._work, name=name, daemon=True).start()

    def occupies_thread(self) -> bool:
        """Return whether the caller runs in one of the threads of this runner."""
        return threading.get_ident() in self._threads

    def close(self) -> None:
        """Run no more steps."""
        self._closed = True
        for _ in range(self._started):
            self._ready.put(None)

    def _work(self) -> None:
        self._threads.add(threading.get_ident())
        while (run := self._ready.get()) is not None:
            run.step()
            del run  # so that a thread that waits keeps no websocket that has ended
        self._on_end()
