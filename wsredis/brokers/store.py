"""One-time values: put by one process, taken by one that asks first."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Store"]


class Store(Protocol):
    """A keeper of values that each have one taker; usable from any thread."""

    def put(self, key: str, value: bytes, seconds: int) -> None:
        """Store a value for some seconds under a key of its own.

        Raises:
            BrokerUnavailable: it may not have been stored.
        """

    def take(self, key: str) -> bytes | None:
        """Return a value and forget it in one step: of several who ask, one gets it, others None.

        Raises:
            BrokerUnavailable: the broker does not answer; the value may be lost.
        """
