"""How many websockets one process, one user and one address may have.

The numbers are those of this process: a site with several lets each of them have so many. All of
an IPv6 network that one customer gets, a /64 (RFC 6177), counts as one address.

Slots are taken in the thread or greenlet of a request and given back on the hub's loop, so they are
counted under a lock. It is the system's own: nothing waits while it is held.
"""

from __future__ import annotations

from ipaddress import ip_network

import gevent.monkey

from ..config import Config
from ..exceptions import HandshakeError
from ..protocol.http import RETRY_SOON
from .subscriber import Slots

__all__ = ["Limits"]

TLS = ("descriptors", "tls")
"""The slot of a websocket whose server ends TLS itself; its `Tunnel` takes two descriptors more."""

TUNNEL = 2

_allocate_lock = gevent.monkey.get_original("_thread", "allocate_lock")


class Limits:
    """The slots that are taken, and the refusal of what is too much.

    Attributes:
        count: the websockets that have a slot of the process, those in a handshake too.
    """

    def __init__(self, config: Config) -> None:
        self.count = 0
        self._max = config.connection_limit()
        self._tunnel = TUNNEL if config.max_connections is None else 0  # that one counts websockets
        self._max_of_address = config.max_connections_per_address
        self._max_of_user = config.max_connections_per_user
        self._taken: dict[tuple[str, str], int] = {}
        self._lock = _allocate_lock()

    def take(self, address: str = "", tls: bool = False) -> Slots:
        """Take a slot of the process and of a client's address.

        What is returned must be given back with `release`, whatever becomes of the handshake.

        Args:
            address: the client's, or "" where that does not count.
            tls: whether the server itself ends TLS.

        Raises:
            HandshakeError: 503 when the process is full, 429 when the address has enough.
        """
        slots: Slots = (TLS,) if tls else ()
        with self._lock:
            taken = self.count + self._tunnel * (self._taken.get(TLS, 0) + len(slots))
            if taken >= self._max:
                raise HandshakeError(503, "No room for another websocket.", RETRY_SOON)
            if self._max_of_address is not None and address:
                slots += (self._check("address", _network(address), self._max_of_address),)
            self.count += 1
            for slot in slots:
                self._taken[slot] = self._taken.get(slot, 0) + 1
        return slots

    def take_user(self, slots: Slots, user: str | None) -> Slots:
        """Take a slot of a user too, and return all slots.

        Raises:
            HandshakeError: 429 when the user has enough.
        """
        if user is None or self._max_of_user is None:
            return slots
        with self._lock:
            slot = self._check("user", user, self._max_of_user)
            self._taken[slot] = self._taken.get(slot, 0) + 1
        return (*slots, slot)

    def release(self, slots: Slots) -> None:
        """Give back what `take` and `take_user` returned."""
        with self._lock:
            self.count -= 1
            for slot in slots:
                self._taken[slot] -= 1
                if not self._taken[slot]:
                    del self._taken[slot]

    def _check(self, kind: str, name: str, most: int) -> tuple[str, str]:
        slot = kind, name
        if self._taken.get(slot, 0) >= most:
            raise HandshakeError(429, f"Too many websockets of one {kind}.", RETRY_SOON)
        return slot


def _network(address: str) -> str:
    """Return what an address counts as; it is written as `wsredis.proxies` does."""
    return str(ip_network((address, 64), strict=False)) if ":" in address else address
