"""What happened to a feed, counted."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["FeedStats"]


class FeedStats:
    """The counters of a feed.

    Attributes:
        connected: whether messages arrive at the moment.
        gaps: times that messages may have been lost, because the link was or delivering failed.
        lost_at: when that was found the last time, in monotonic seconds.
        on_gap: called on the feed's loop as soon as a gap is counted; must not block.
        reconnects: times the link came back.
        unpublished: messages from sockets that were not, or perhaps not, published.
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
        """Count a gap: from now on nobody can be sure to have everything."""
        self.gaps += 1
        self.lost_at = time.monotonic()
        self.on_gap()


def _nothing() -> None:
    """Take no notice of a gap."""
