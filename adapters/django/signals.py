"""The signals ``connected`` and ``disconnected``, whose receivers may block.

::

    @receiver(connected)
    def greet(sender, identity, facility, channels, **kwargs): ...

A websocket opens and closes on the hub's loop, where nothing may block. So the receivers run in
one thread of this process (see `.worker`), one event at a time: a slow receiver delays other
receivers, but no websocket. Exceptions of receivers are logged.

While `LIMIT` events are waiting, further events are dropped, which is logged.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.dispatch import Signal

from wsredis.endpoints import Endpoint, EndpointConnection
from wsredis.identity import Identity

from .worker import Worker

__all__ = ["announced", "connected", "disconnected"]

log = logging.getLogger("wsredis.adapters.django")

connected = Signal()
"""Sent after a websocket has opened, with ``identity``, ``facility`` and ``channels``."""

disconnected = Signal()
"""Sent after it has closed, with the same and the close ``code`` (1006: no close frame)."""

LIMIT = 10_000


def announced(endpoint: Any, identity: Identity, facility: str) -> Any:
    """Return an endpoint that sends the signals, or the given one if there are no receivers."""
    if not (connected.receivers or disconnected.receivers):
        return endpoint
    _events.start()
    return _Announced(endpoint, identity, facility)


class _Announced:
    """A wrapper around an endpoint, which sends the signals and passes on all other attributes."""

    __slots__ = ("_endpoint", "_facility", "_identity", "_said")

    def __init__(self, endpoint: Endpoint, identity: Identity, facility: str) -> None:
        self._endpoint = endpoint
        self._identity = identity
        self._facility = facility
        self._said: dict[str, Any] = {}  # the arguments of the signals; empty before it is open

    def __getattr__(self, name: str) -> Any:
        return getattr(self._endpoint, name)

    def opened(self, connection: EndpointConnection) -> None:
        self._said = {
            "identity": self._identity,
            "facility": self._facility,
            "channels": tuple(self._endpoint.channels),
        }
        _events.send(connected, type(self._endpoint), self._said)
        self._endpoint.opened(connection)

    def closed(self, connection: EndpointConnection, code: int) -> None:
        if self._said:
            _events.send(disconnected, type(self._endpoint), {**self._said, "code": int(code)})
        self._endpoint.closed(connection, code)


class _Events(Worker):
    """The thread of this process that sends the signals."""

    _dropped = False

    def send(self, signal: Signal, sender: Any, said: dict[str, Any]) -> None:
        """Queue an event; never blocks."""
        if self.waiting() < LIMIT:
            self.put(partial(signal.send_robust, sender=sender, **said))
            self._dropped = False
        elif not self._dropped:
            self._dropped = True
            log.error("the receivers of connected or disconnected are too slow: dropping events")


_events = _Events("wsredis-signals")
