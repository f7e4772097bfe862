"""Limits on the websockets of one process, one user and one address.

The limits apply to each process separately. All addresses of a /64 IPv6 network, which one customer
gets (RFC 6177), count as one address.

Slots are taken in the thread or greenlet of a request and released on the hub's loop, so they are
counted under a lock. It is a lock of the operating system, which is never held while waiting.
"""

from __future__ import annotations

import math
from ipaddress import ip_network

import gevent.monkey

from ..config import Config
from ..exceptions import HandshakeError
from ..protocol.http import RETRY_SOON
from .subscriber import Slots

__all__ = ["Limits"]

FULL = "This server process has reached its limit of websockets; try again later."

TLS = ("descriptors", "tls")
"""The slot of a websocket whose server terminates TLS itself; see `TUNNEL`."""

TUNNEL = 2
"""Additional descriptors of such a websocket, taken by its `Tunnel`."""

_allocate_lock = gevent.monkey.get_original("_thread", "allocate_lock")


class Limits:
    """The slots in use, and the refusal of websockets beyond the limits.

    Args:
        config: the options of the middleware.
        room: maximum descriptors of all websockets; None for what the options say.

    Attributes:
        count: the websockets that have a slot of the process, including those in a handshake.
    """

    def __init__(self, config: Config, room: int | None = None) -> None:
        self.count = 0
        self._max: float = config.connection_limit()
        self._room: float = math.inf if room is None else room
        if config.max_connections is None:  # the default limit counts descriptors, not websockets
            self._room = min(self._room, self._max)
            self._max = math.inf
        self._max_of_address = config.max_connections_per_address
        self._max_of_user = config.max_connections_per_user
        self._taken: dict[tuple[str, str], int] = {}
        self._lock = _allocate_lock()

    def take(self, address: str = "", tls: bool = False) -> Slots:
        """Take a slot of the process and of a client's address.

        The returned slots must be given back with `release`, whether the handshake succeeds or not.

        Args:
            address: the client's address, or "" to take no slot of an address.
            tls: whether the server terminates TLS itself.

        Raises:
            HandshakeError: 503 when the process is full, 429 when the address is at its limit.
        """
        slots: Slots = (TLS,) if tls else ()
        with self._lock:
            taken = self.count + TUNNEL * (self._taken.get(TLS, 0) + len(slots))
            if self.count >= self._max or taken >= self._room:
                raise HandshakeError(503, FULL, RETRY_SOON)
            if self._max_of_address is not None and address:
                slots += (self._check("address", _network(address), self._max_of_address),)
            self.count += 1
            for slot in slots:
                self._taken[slot] = self._taken.get(slot, 0) + 1
        return slots

    def take_user(self, slots: Slots, user: str | None) -> Slots:
        """Take a slot of a user as well, and return all slots.

        Raises:
            HandshakeError: 429 when the user is at its limit.
        """
        if user is None or self._max_of_user is None:
            return slots
        with self._lock:
            slot = self._check("user", user, self._max_of_user)
            self._taken[slot] = self._taken.get(slot, 0) + 1
        return (*slots, slot)

    def release(self, slots: Slots) -> None:
        """Give back the slots that `take` and `take_user` returned."""
        with self._lock:
            self.count -= 1
            for slot in slots:
                self._taken[slot] -= 1
                if not self._taken[slot]:
                    del self._taken[slot]

    def _check(self, kind: str, name: str, most: int) -> tuple[str, str]:
        slot = kind, name
        if self._taken.get(slot, 0) >= most:
            text = f"Too many websockets for this {kind}. Close some, or try again later."
            raise HandshakeError(429, text, RETRY_SOON)
        return slot


def _network(address: str) -> str:
    """Return the address or network that an address, as `wsredis.proxies` writes it, counts as."""
    return str(ip_network((address, 64), strict=False)) if ":" in address else address
