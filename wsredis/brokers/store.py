"""One-time values: stored by one process, and returned to the first process that takes them."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Store"]


class Store(Protocol):
    """A store of values that can each be taken once; usable from any thread."""

    def put(self, key: str, value: bytes, seconds: int) -> None:
        """Store a value for some seconds under a unique key.

        Raises:
            BrokerUnavailable: the value may not have been stored.
        """

    def take(self, key: str) -> bytes | None:
        """Return and delete a value atomically: only one of several callers gets it, others None.

        Raises:
            BrokerUnavailable: the broker does not answer; the value may be lost.
        """
