"""What a broker must do: the interfaces that `wsredis.brokers.redis` and `.memory` implement.

A `Broker` belongs to whoever publishes and may be used from any thread. A `Feed` belongs to one hub
and lives on its loop. Both know channel names and bytes only; who subscribes to a channel in this
process is the hub's business. What may be stored beside messages is said in `store` and `log`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ..message import Message
from ..runtime.loop import Loop
from .stats import FeedStats

__all__ = ["Broker", "Deliver", "Feed"]

Deliver = Callable[[list[Message]], Iterator[None]]
"""Takes what one turn of the loop has brought, in order, and yields where others may have theirs.

It runs in a callback of the loop, so it must not block. What it raises is logged, costs these
messages only, and counts as a gap."""


class Feed(Protocol):
    """The messages of the channels that one hub subscribes to.

    Delivery is at most once and in order for each channel. When messages may have been lost,
    ``stats.gaps`` grows and ``stats.on_gap`` is called before the next one is delivered, and the
    loss is logged.

    Attributes:
        stats: counts what happened.
        deliver: takes what has come. It may be replaced on the loop: the next call is the new
            one's.
    """

    stats: FeedStats
    deliver: Deliver

    def subscribe(self, channels: Sequence[str]) -> list[Message]:
        """Begin to deliver channels and return their retained messages.

        Blocks the calling greenlet. Every message published after a retained one is delivered; one
        that is delivered while this blocks may be returned as well, one that is returned is not
        delivered afterwards.

        Raises:
            BrokerUnavailable: the broker does not answer or refuses. Others may wait for the same
                channels by now, so it is the caller who unsubscribes from those nobody wants.
        """

    def logged(self, channel: str) -> list[Message]:
        """Return what `Log.append` has stored for a channel, the oldest first.

        Blocks the calling greenlet. Asked after `subscribe`, nothing is missing between this and
        what is delivered, but something may be in both.

        Raises:
            BrokerUnavailable: the broker does not answer or refuses.
        """

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """Stop delivering channels; what is on its way may still arrive."""

    def refused(self) -> list[str]:
        """Return those of the channels that nothing comes from, as the broker refuses them."""

    def publish(
        self, channels: Sequence[str], payload: bytes, expire: int, on_ack: Callable[[bool], None]
    ) -> None:
        """Publish without waiting, in the order of the calls.

        ``on_ack`` is called once, on the loop: with True when the message is published, with
        False if it was not, or perhaps not.
        """

    def close(self) -> None:
        """End the feed; nothing is delivered from now on."""


class Broker(Protocol):
    """The messages between processes."""

    def open(self, loop: Loop, deliver: Deliver) -> Feed:
        """Return a feed for one hub; called on its loop."""

    def publish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        """Publish to all channels at once and retain the payload for ``expire`` seconds (0: not).

        One round trip. Either all channels get it or none. Returns the number of processes that
        receive it, added up over the channels.

        Raises:
            BrokerUnavailable: it may not have been published.
        """

    async def apublish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        """Publish like `publish`, for callers on an asyncio loop."""

    def fetch(self, channels: Sequence[str]) -> list[Message]:
        """Return retained messages, in the order of the channels; without those that have none.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
