"""The counters of a hub."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HubStats"]


@dataclass(slots=True)
class HubStats:
    """The counters of a hub since it was made.

    Attributes:
        accepted: websockets that were opened.
        delivered: messages written to a socket or into its send buffer, or received by a channel
            of a channel layer.
        slow_consumers: websockets closed because their clients read too slowly.
        messages_dropped: messages dropped from full send buffers.
        over_limit: websockets closed because they sent too much in one second.
        revoked: websockets closed because their identity expired or was revoked.
        timeouts: websockets that did not answer a ping or a close frame in time.
        handshake_timeouts: handshakes that their endpoint did not answer in time.
    """

    accepted: int = 0
    delivered: int = 0
    slow_consumers: int = 0
    messages_dropped: int = 0
    over_limit: int = 0
    revoked: int = 0
    timeouts: int = 0
    handshake_timeouts: int = 0
