"""The log of a channel: messages that are published and stored in order for a while.

It serves what must also reach a process that was not connected: orders to disconnect. `Feed.logged`
reads it.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Log"]


class Log(Protocol):
    """A publisher that stores what it publishes; usable from any thread."""

    def append(self, channel: str, payload: bytes, seconds: int, most: int) -> int:
        """Publish to a channel, and store the payload after those before it.

        One step and one round trip. Payloads stay until ``seconds`` after the last of them, and
        of more than ``most`` the oldest are dropped. Returns the number of processes that receive
        it.

        Raises:
            BrokerUnavailable: it may not have been published.
        """
