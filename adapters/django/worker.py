"""A thread beside the hub's loop, where code of the site may block and query the database.

In a process that gevent has patched it is a greenlet, like those of the views. Database connections
are closed as after a request.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Callable

from django.db import close_old_connections, reset_queries

__all__ = ["Job", "Worker"]

log = logging.getLogger("wsredis.adapters.django")

LAST_SECONDS = 2.0
"""How long the end of the process waits for functions that have not been called yet."""

LOOP_SECONDS = 5.0
"""How long a function waits for the end of another greenlet's asyncio loop."""

Job = Callable[[], object]


class Worker:
    """A thread, one per process, that calls functions one after the other.

    Exceptions of the functions are logged.

    Args:
        name: the name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._pid = 0

    def start(self) -> None:
        """Start the thread of this process; call it in a request, as it would block the loop.

        A thread that is started before the hub of this process ends after it.
        """
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
                atexit.register(self._end, self._pid)

    def put(self, job: Job) -> None:
        """Queue a function; never blocks."""
        self._queue.put(job)

    def waiting(self) -> int:
        """Return how many functions have not been called yet."""
        return self._queue.qsize()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                _call(job)
            except (Exception, SystemExit):
                log.exception("a function failed in the thread %s", self._name)

    def _end(self, pid: int) -> None:
        if pid == os.getpid():
            self._queue.put(None)
            self._thread.join(LAST_SECONDS)


def _call(job: Job) -> None:
    _await_no_loop()
    reset_queries()
    close_old_connections()
    try:
        job()
    finally:
        _await_no_loop()
        close_old_connections()


def _await_no_loop() -> None:
    """Wait while an asyncio loop runs on this system thread: Django's ORM would raise an error.

    That is one of an asynchronous view, in a process that gevent has patched.
    """
    until = time.monotonic() + LOOP_SECONDS
    while asyncio._get_running_loop() is not None and time.monotonic() < until:
        time.sleep(0.01)
