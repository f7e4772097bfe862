"""What a broker must do: the two seams that `wsredis.brokers.redis` and `.memory` implement.

A `Broker` belongs to whoever publishes and may be used from any thread. A `Feed` belongs to one hub
and lives on its loop. Both speak of channel names and bytes; who listens to a channel in this
process is the hub's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ..loop import Loop
from ..message import Message

__all__ = ["Broker", "Deliver", "Feed", "FeedStats"]

Deliver = Callable[[list[Message]], Iterator[None]]
"""Takes what one turn of the loop has brought, in order, and yields where others may have theirs.

It runs in a callback of the loop, so it must not block. What it raises is logged, costs these
messages only, and counts as a gap."""


class FeedStats:
    """Count what happened to a feed.

    Attributes:
        connected: whether messages arrive at the moment.
        gaps: times that messages may have been lost, because the link was or delivering failed.
        lost_at: when that was found the last time, in monotonic seconds.
        reconnects: times the link came back.
        unpublished: messages from sockets that were not, or perhaps not, published.
    """

    __slots__ = ("connected", "gaps", "lost_at", "reconnects", "unpublished")

    def __init__(self) -> None:
        self.connected = False
        self.gaps = 0
        self.lost_at = 0.0
        self.reconnects = 0
        self.unpublished = 0

    def lose(self) -> None:
        """Count a gap: from now on nobody can be sure to have everything."""
        self.gaps += 1
        self.lost_at = time.monotonic()


class Feed(Protocol):
    """Bring one hub the messages of the channels it subscribes to.

    Delivery is at most once and in order for each channel. When messages may have been lost,
    ``stats.gaps`` grows before the next one is delivered, and the loss is logged.
    """

    stats: FeedStats

    def subscribe(self, channels: Sequence[str]) -> list[Message]:
        """Begin to deliver channels and return their kept last messages.

        Blocks the calling greenlet. Every message published after a kept one is delivered; one
        that is delivered while this blocks may be returned as well, one that is returned is not
        delivered afterwards.

        Raises:
            BrokerUnavailable: the broker does not answer or refuses. Others may wait for the same
                channels by now, so it is the caller who unsubscribes from those nobody wants.
        """

    def appended(self, channel: str) -> list[Message]:
        """Return what `Broker.append` keeps for a channel, the oldest first.

        Blocks the calling greenlet. Asked after `subscribe`, nothing is missing between this and
        what is delivered, but something may be in both.

        Raises:
            BrokerUnavailable: the broker does not answer or refuses.
        """

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """Stop to deliver channels; what is on its way may still arrive."""

    def refused(self) -> list[str]:
        """Return those of the channels that nothing comes from, as the broker refuses them."""

    def publish(
        self, channels: Sequence[str], payload: bytes, expire: int, answered: Callable[[bool], None]
    ) -> None:
        """Publish without waiting, in the order of the calls.

        ``answered`` is called once, on the loop: with True when the message is published, with
        False if it was not, or perhaps not.
        """

    def close(self) -> None:
        """End the feed; nothing is delivered from now on."""


class Broker(Protocol):
    """Move messages between processes."""

    def open(self, loop: Loop, deliver: Deliver) -> Feed:
        """Return a feed for one hub; called on its loop."""

    def publish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        """Publish to all channels at once and keep the payload for ``expire`` seconds (0: not).

        One round trip. Either all channels get it or none. Returns the number of processes that
        receive it, added up over the channels.

        Raises:
            BrokerUnavailable: it may not have been published.
        """

    async def apublish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        """Do what `publish` does, for callers on an asyncio loop."""

    def append(self, channel: str, payload: bytes, seconds: int, most: int) -> int:
        """Publish to a channel, and keep the payload behind those before it.

        One step and one round trip. They are kept until ``seconds`` after the last of them, and
        of more than ``most`` the oldest go. Returns the number of processes that receive it.

        Raises:
            BrokerUnavailable: it may not have been published.
        """

    def fetch(self, channels: Sequence[str]) -> list[Message]:
        """Return the kept last messages, in the order of the channels; those that have none lack.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

    def put(self, key: str, value: bytes, seconds: int) -> None:
        """Keep a value for some seconds under a key of its own, for one who takes it.

        Raises:
            BrokerUnavailable: it may not have been kept.
        """

    def take(self, key: str) -> bytes | None:
        """Return a value and forget it in one step: of several who ask, one gets it, others None.

        Raises:
            BrokerUnavailable: the broker does not answer; the value may be lost.
        """
