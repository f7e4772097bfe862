"""``connected`` and ``disconnected``, sent where a receiver may block.

::

    @receiver(connected)
    def greet(sender, identity, facility, channels, **kwargs): ...

A websocket opens and closes on the hub's loop, where nothing may block. So the receivers run in
one thread of this process, one event after the other: a slow receiver delays other receivers, not
one websocket. In a process that gevent has patched this thread is a greenlet, like those of the
views. Database connections are handled as for a request. What a receiver raises is logged.

When `LIMIT` events wait, further ones are dropped and that is logged. At the end of the process
what waits has `LAST_SECONDS`.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
from collections.abc import Sequence
from typing import Any

from django.db import close_old_connections, reset_queries
from django.dispatch import Signal

from wsredis.connection import Connection
from wsredis.endpoints import Endpoint
from wsredis.identity import Identity
from wsredis.message import Data

__all__ = ["announced", "connected", "disconnected"]

log = logging.getLogger("wsredis.adapters.django")

connected = Signal()
"""Sent after a websocket has opened, with ``identity``, ``facility`` and ``channels``."""

disconnected = Signal()
"""Sent after it has closed, with the same and the close ``code`` (1006: without a close frame)."""

LIMIT = 10_000
LAST_SECONDS = 2.0


def announced(endpoint: Any, identity: Identity, facility: str) -> Any:
    """Return an endpoint whose websocket is announced, if anybody listens by now."""
    if not (connected.receivers or disconnected.receivers):
        return endpoint
    _events.start()
    return _Announced(endpoint, identity, facility)


class _Announced(Endpoint):
    """Stand before an endpoint and send the signals."""

    __slots__ = ("_endpoint", "_open", "_said", "channels", "wants_kept")

    def __init__(self, endpoint: Endpoint, identity: Identity, facility: str) -> None:
        self.channels: Sequence[str] = endpoint.channels
        self.wants_kept = endpoint.wants_kept
        self._endpoint = endpoint
        self._said = {"identity": identity, "facility": facility, "channels": tuple(self.channels)}
        self._open = False

    def opened(self, connection: Connection) -> None:
        self._open = True
        _events.put(connected, type(self._endpoint), self._said)
        self._endpoint.opened(connection)

    def received(self, connection: Connection, message: Data) -> None:
        self._endpoint.received(connection, message)

    def closed(self, connection: Connection, code: int) -> None:
        if self._open:
            _events.put(disconnected, type(self._endpoint), {**self._said, "code": int(code)})
        self._endpoint.closed(connection, code)


class _Events:
    """Send signals in a thread of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._dropped = False

    def start(self) -> None:
        """Start the thread; before the hub of this process is made, so that it ends after it."""
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
                self._thread = threading.Thread(
                    target=self._work, name="wsredis-signals", daemon=True
                )
                self._thread.start()
                atexit.register(self._end, self._pid)

    def put(self, *event: Any) -> None:
        """Take an event; never blocks."""
        if self._queue.qsize() < LIMIT:
            self._queue.put(event)
            self._dropped = False
        elif not self._dropped:
            self._dropped = True
            log.error("receivers of connected or disconnected are too slow: events are dropped")

    def _work(self) -> None:
        while (event := self._queue.get()) is not None:
            signal, sender, said = event
            reset_queries()
            close_old_connections()
            try:
                signal.send_robust(sender=sender, **said)
            finally:
                close_old_connections()

    def _end(self, pid: int) -> None:
        if pid == os.getpid():
            self._queue.put(None)
            self._thread.join(LAST_SECONDS)


_events = _Events()
