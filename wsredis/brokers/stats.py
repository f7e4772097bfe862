"""The counters of a feed."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["FeedStats"]


class FeedStats:
    """The counters of a feed.

    Attributes:
        connected: whether the feed is connected to the broker.
        gaps: times that messages may have been lost, because the link was lost or delivery failed.
        lost_at: time at which the last gap was noticed, in monotonic seconds.
        on_gap: called on the feed's loop when a gap is counted; must not block.
        reconnects: times that the link was re-established.
        unpublished: messages from websockets that were not published, or perhaps not.
    """

    __slots__ = ("connected", "gaps", "lost_at", "on_gap", "reconnects", "unpublished")

    def __init__(self) -> None:
        self.connected = False
        self.gaps = 0
        self.lost_at = 0.0
        self.on_gap: Callable[[], None] = _nothing
        self.reconnects = 0
        self.unpublished = 0

    def count_gap(self) -> None:
        """Count a gap: any subscriber may have missed messages."""
        self.gaps += 1
        self.lost_at = time.monotonic()
        self.on_gap()


def _nothing() -> None:
    """Ignore a gap."""
