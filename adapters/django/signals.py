"""``connected`` and ``disconnected``, sent where a receiver may block.

::

    @receiver(connected)
    def greet(sender, identity, facility, channels, **kwargs): ...

A websocket opens and closes on the hub's loop, where nothing may block. So the receivers run in
one thread of this process (see `.worker`), one event after the other: a slow receiver delays other
receivers, not one websocket. What a receiver raises is logged.

When `LIMIT` events wait, further ones are dropped and that is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.dispatch import Signal

from wsredis.endpoints import Endpoint, EndpointConnection
from wsredis.identity import Identity
from wsredis.message import Data

from .worker import Worker

__all__ = ["announced", "connected", "disconnected"]

log = logging.getLogger("wsredis.adapters.django")

connected = Signal()
"""Sent after a websocket has opened, with ``identity``, ``facility`` and ``channels``."""

disconnected = Signal()
"""Sent after it has closed, with the same and the close ``code`` (1006: without a close frame)."""

LIMIT = 10_000


def announced(endpoint: Any, identity: Identity, facility: str) -> Any:
    """Return an endpoint whose websocket is announced, if anybody listens by now."""
    if not (connected.receivers or disconnected.receivers):
        return endpoint
    _events.start()
    return _Announced(endpoint, identity, facility)


class _Announced(Endpoint):
    """An endpoint in front of another one, which sends the signals."""

    __slots__ = ("_endpoint", "_open", "_said", "channels", "wants_retained")

    def __init__(self, endpoint: Endpoint, identity: Identity, facility: str) -> None:
        self.channels: Sequence[str] = endpoint.channels
        self.wants_retained = endpoint.wants_retained
        self._endpoint = endpoint
        self._said = {"identity": identity, "facility": facility, "channels": tuple(self.channels)}
        self._open = False

    def opened(self, connection: EndpointConnection) -> None:
        self._open = True
        _events.send(connected, type(self._endpoint), self._said)
        self._endpoint.opened(connection)

    def received(self, connection: EndpointConnection, message: Data) -> None:
        self._endpoint.received(connection, message)

    def closed(self, connection: EndpointConnection, code: int) -> None:
        if self._open:
            _events.send(disconnected, type(self._endpoint), {**self._said, "code": int(code)})
        self._endpoint.closed(connection, code)


class _Events(Worker):
    """The signals that are sent in a thread of this process."""

    _dropped = False

    def send(self, signal: Signal, sender: Any, said: dict[str, Any]) -> None:
        """Take an event; never blocks."""
        if self.waiting() < LIMIT:
            self.put(partial(signal.send_robust, sender=sender, **said))
            self._dropped = False
        elif not self._dropped:
            self._dropped = True
            log.error("receivers of connected or disconnected are too slow: events are dropped")


_events = _Events("wsredis-signals")
