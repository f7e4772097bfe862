"""How long the sockets of one process may stay: until their identity expires or is revoked.

A socket that was asked who it is just before an order came would slip through while it joins, so
orders of the last moments count for newcomers too. All of this runs on the hub's loop.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from .connection import Connection
from .message import Message
from .revocation import Revocation, read_order

__all__ = ["EXPIRED", "Validity"]

EXPIRED = 4401
"""Close code of a socket whose session, ticket or token is over (private use, RFC 6455, 7.4.2)."""

SKEW = 2.0
"""Seconds by which the clocks of two hosts may differ."""

SPARE = 20.0
"""Seconds beyond the handshake's time-out for which an order counts for newcomers."""


class Validity:
    """End sockets whose identity holds no longer.

    What is counted here are the sockets that were not about to end anyway.

    Args:
        connections: gives all sockets of the process, joining ones too.
        handshake_timeout: seconds that may pass until a newcomer is among them.
    """

    def __init__(
        self, connections: Callable[[], Iterable[Connection]], handshake_timeout: float
    ) -> None:
        self._connections = connections
        self._remembered = handshake_timeout + SPARE
        self._until: dict[Connection, float] = {}  # Unix time
        self._orders: deque[tuple[float, Revocation]] = deque()  # and when they were given

    def watch(self, connection: Connection) -> int:
        """Take a newcomer; return 1 if it has to go at once, else 0."""
        until = connection.identity.expires
        if until is not None:
            if until <= time.time():
                return _expire(connection)
            self._until[connection] = until
        return sum(_end(connection, when, order) for when, order in self._orders)

    def forget(self, connection: Connection) -> None:
        """Drop a socket that ends."""
        self._until.pop(connection, None)

    def expire(self) -> int:
        """Close whose time is over; return how many these were."""
        now = time.time()
        over = [connection for connection, until in self._until.items() if until <= now]
        for connection in over:
            self._until.pop(connection, None)
        old = time.monotonic() - self._remembered
        while self._orders and self._orders[0][0] < old:
            self._orders.popleft()
        return sum(map(_expire, over))

    def obey(self, message: Message) -> int:
        """Carry out an order that has just come; return how many sockets it ends."""
        order = read_order(message)
        return 0 if order is None else self._carry_out(time.monotonic(), order)

    def catch_up(self, message: Message, skew: float = SKEW) -> int:
        """Carry out an order that was kept; return how many sockets it ends.

        It concerns nobody of whom the site was asked after it was given, as far as two clocks
        that differ by ``skew`` seconds can tell.
        """
        order = read_order(message)
        if order is None:
            return 0
        now = time.monotonic()
        return self._carry_out(min(now, now + order.at - time.time() + skew), order)

    def _carry_out(self, when: float, order: Revocation) -> int:
        self._orders.append((when, order))
        return sum(_end(connection, when, order) for connection in list(self._connections()))


def _end(connection: Connection, when: float, order: Revocation) -> bool:
    meant = connection.since <= when and order.matches(connection.identity)
    return meant and connection.expel(order.code, order.reason)


def _expire(connection: Connection) -> bool:
    return connection.expel(EXPIRED, "the session has expired")
