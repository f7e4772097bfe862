"""The log of a channel: messages that are published and also stored, in order, for some time.

It is for messages that must also reach processes that were not connected: revocations.
`Feed.logged` reads it.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Log"]


class Log(Protocol):
    """A publisher that stores the messages it publishes; usable from any thread."""

    def append(self, channel: str, payload: bytes, seconds: int, most: int) -> int:
        """Publish a payload to a channel and append it to the log of the channel.

        This is one atomic step and one round trip. The log expires ``seconds`` after its last
        payload; if it has more than ``most`` payloads, the oldest are dropped. If the broker cannot
        store the payload, for example because its memory is full, it only publishes it and logs an
        error.

        Returns:
            The number of processes that receive the payload.

        Raises:
            BrokerUnavailable: the payload may not have been published.
        """
