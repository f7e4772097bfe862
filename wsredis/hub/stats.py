"""What a hub has done, counted."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HubStats"]


@dataclass(slots=True)
class HubStats:
    """The counters of a hub since it was made.

    Attributes:
        accepted: websockets that were opened.
        delivered: messages written to a socket or into its send buffer.
        slow_consumers: sockets that were closed because their send buffer was full.
        messages_dropped: messages that were dropped from a send buffer that was full.
        over_limit: sockets that were closed because they sent too much in a second.
        revoked: sockets that were closed because their identity expired or was revoked.
        timeouts: sockets that answered neither a ping nor a close frame in time.
    """

    accepted: int = 0
    delivered: int = 0
    slow_consumers: int = 0
    messages_dropped: int = 0
    over_limit: int = 0
    revoked: int = 0
    timeouts: int = 0
