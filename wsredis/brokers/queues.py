"""Queues of messages of which each is taken by one reader, for the channels of channel layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

__all__ = ["Item", "Queues"]


class Item(NamedTuple):
    """A message that was taken from a queue.

    Args:
        until: Unix time in seconds at which it expires.
        payload: the bytes that were pushed.
    """

    until: float
    payload: bytes


class Queues(Protocol):
    """Queues that are read in order; usable from any thread.

    Whenever a message is added to a queue, an empty message is published to the channel that has
    the key of the queue as its name, so that waiting readers take it.
    """

    def push(self, key: str, payload: bytes, most: int, seconds: float) -> bool:
        """Add a message to the end of a queue.

        Args:
            key: the key of the queue.
            payload: the message.
            most: maximum number of messages in the queue.
            seconds: time after which the message expires; at most `MAX_EXPIRE`.

        Returns:
            False if the queue is full; nothing is added then.

        Raises:
            BrokerUnavailable: the message may not have been added.
        """

    async def apush(self, key: str, payload: bytes, most: int, seconds: float) -> bool:
        """Add a message like `push`, for callers on an asyncio loop."""

    def take(self, key: str) -> Item | None:
        """Remove and return the oldest message that has not expired; None if there is none.

        Raises:
            BrokerUnavailable: the broker does not answer; a message may be lost.
        """

    def put_back(self, key: str, items: Sequence[Item]) -> None:
        """Return messages, in their order and at once, to the beginning of their queue.

        Raises:
            BrokerUnavailable: the messages may be lost.
        """

    def clear(self, prefix: str) -> None:
        """Delete all queues whose key begins with a prefix.

        Raises:
            BrokerUnavailable: some may not have been deleted.
        """

    async def aclear(self, prefix: str) -> None:
        """Delete queues like `clear`, for callers on an asyncio loop."""
