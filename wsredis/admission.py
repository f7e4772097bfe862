"""How many websockets one process, one user and one address may hold.

The numbers are those of this process: a site with several lets each of them have so many. All of
an IPv6 network that one customer gets, a /64 (RFC 6177), counts as one address.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network
from typing import TYPE_CHECKING

from .config import Config
from .exceptions import HandshakeError

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["TLS", "Admission"]

TLS = ("descriptors", "tls")
"""The seat of a websocket whose server ends TLS itself; its `Tunnel` takes two descriptors more."""

TUNNEL = 2

RETRY = [("Retry-After", "2")]


class Admission:
    """Count who is in, and refuse whoever is too many.

    Attributes:
        count: all websockets, those that are still joining too.
    """

    def __init__(self, config: Config) -> None:
        self.count = 0
        self._most = config.connection_limit()
        self._tunnel = TUNNEL if config.max_connections is None else 0  # that one counts websockets
        limits = {
            "user": config.max_connections_per_user,
            "address": config.max_connections_per_address,
        }
        self._most_of = {kind: most for kind, most in limits.items() if most is not None}
        self._of: Counter[tuple[str, str]] = Counter()

    def admit(self, connection: Connection, address: str) -> None:
        """Let one in, from a client's address, or from "" where that does not count.

        Seats that it has already, which is `TLS`, are counted too.

        Raises:
            HandshakeError: 503 when the process is full, 429 when the user or the address has
                enough.
        """
        seats = connection.seats
        taken = self.count + self._tunnel * (self._of[TLS] + len(seats))
        if taken >= self._most:
            raise HandshakeError(503, "No room for another websocket.", RETRY)
        for kind, most in self._most_of.items():
            name = connection.identity.user if kind == "user" else _network(address)
            if name:
                if self._of[kind, name] >= most:
                    raise HandshakeError(429, f"Too many websockets of one {kind}.", RETRY)
                seats += ((kind, name),)
        self.count += 1
        for seat in seats:
            self._of[seat] += 1
        connection.seats = seats

    def release(self, connection: Connection) -> None:
        """Let one out that was let in."""
        self.count -= 1
        for seat in connection.seats:
            self._of[seat] -= 1
            if not self._of[seat]:
                del self._of[seat]


def _network(address: str) -> str:
    """Return what an address counts as; it is written as `wsredis.proxies` does."""
    return str(ip_network((address, 64), strict=False)) if ":" in address else address
