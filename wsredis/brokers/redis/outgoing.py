"""The messages that websockets publish, on their way to Redis.

They are sent in the order of the calls. What Redis has not acked is bounded, well below the output
that Redis lets wait for a subscriber: the process that publishes most is also a subscriber.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..copies import OutputLimit
from ..stats import FeedStats
from .link import Answer, Link, LinkLost
from .resp import ReplyError

__all__ = ["Outgoing", "ignore"]

MAX_WAITING = 64 * 2**20
"""Maximum bytes of messages that are not acked, sent or not; more are refused.

This is a safety net: reading from a single websocket pauses much earlier.
"""

OVERHEAD = 256
"""Bytes counted for a message besides its payload; while it waits it takes about a thousand."""


class Outgoing:
    """The messages of websockets that Redis has not acked.

    Args:
        stats: the counters, for unpublished messages.

    Attributes:
        limit: what Redis lets wait for a subscriber.
    """

    def __init__(self, stats: FeedStats) -> None:
        self.limit = OutputLimit()
        self._stats = stats
        self._link: Link | None = None
        self._waiting: deque[tuple[int, Callable[[Link], None]]] = deque()
        self._unacked = 0  # bytes
        self._sent = 0  # those that were sent over the link

    def publish(
        self, channels: Sequence[str], payload: bytes, expire: int, on_ack: Callable[[bool], None]
    ) -> None:
        """Publish a message as soon as it is its turn, see `Feed.publish`."""
        size = (len(payload) + OVERHEAD) * len(channels)
        if size > self.limit.most or (self._unacked and self._unacked + size > MAX_WAITING):
            self._stats.unpublished += 1
            on_ack(False)
            return
        self._unacked += size

        def take(reply: Any) -> None:
            self._unacked -= size
            self._sent -= size
            published = not isinstance(reply, ReplyError)
            self._stats.unpublished += not published
            if self._waiting and not isinstance(reply, LinkLost):
                self._send_waiting()
            on_ack(published)

        sent = self._sent + size
        if self._link is None or self._waiting or (self._sent and sent > self.limit.at_once):
            self._waiting.append((size, partial(_send, tuple(channels), payload, expire, take)))
        else:
            self._sent = sent
            _send(channels, payload, expire, take, self._link)

    def attach(self, link: Link) -> None:
        """Send over a new link, first what waits."""
        self._link = link
        self._send_waiting()

    def detach(self) -> None:
        """Keep what is not sent until there is another link."""
        self._link = None

    def _send_waiting(self) -> None:
        while self._link is not None and self._waiting:
            size, send = self._waiting[0]
            if self._sent and self._sent + size > self.limit.at_once:
                return
            self._waiting.popleft()
            self._sent += size
            send(self._link)


def ignore(reply: Any) -> None:
    """Ignore a reply."""


def _send(channels: Sequence[str], payload: bytes, expire: int, on_ack: Answer, link: Link) -> None:
    """Publish to all channels or none, and retain in the same transaction.

    So a new subscriber gets the message exactly once. Only the last reply is evaluated: an error in
    a MULTI is repeated as the reply to EXEC.
    """
    if len(channels) == 1 and not expire:
        link.command(on_ack, "PUBLISH", channels[0], payload)
        return
    link.command(ignore, "MULTI")
    for channel in channels:
        if expire:
            link.command(ignore, "SET", channel, payload, "EX", expire)
        link.command(ignore, "PUBLISH", channel, payload)
    link.command(on_ack, "EXEC")
