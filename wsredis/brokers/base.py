"""The interfaces of a broker, which `wsredis.brokers.redis` and `.memory` implement.

A `Broker` publishes messages and may be used from any thread. A `Feed` receives the messages of one
hub and runs on its loop. Both handle channel names and bytes only; the hub knows the subscribers of
each channel. `store` and `log` define what is stored besides messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ..message import Message
from ..runtime.loop import Loop
from .stats import FeedStats

__all__ = ["UNLIMITED", "Broker", "Deliver", "Feed"]

UNLIMITED = 1 << 62
"""Stands for any number of bytes."""

Deliver = Callable[[list[Message]], Iterator[None]]
"""Takes the messages of one iteration of the loop, in order; yields so that other work can run.

It runs in a callback of the loop, so it must not block. An exception is logged, loses only these
messages, and counts as a gap."""


class Feed(Protocol):
    """A feed of the messages in the channels that one hub subscribes to.

    Delivery is at most once and in order for each channel. When messages may have been lost,
    ``stats.gaps`` is incremented and ``stats.on_gap`` is called before the next message is
    delivered, and the loss is logged.

    Attributes:
        stats: the counters.
        deliver: takes the messages that arrive. It may be replaced on the loop.
    """

    stats: FeedStats
    deliver: Deliver

    def subscribe(self, channels: Sequence[str], most: int = UNLIMITED) -> list[Message]:
        """Begin to deliver messages of channels, and return their retained messages.

        If they are larger than ``most`` bytes together, some may be missing; those that are
        returned are larger, too.

        Blocks the calling greenlet. Every message published after a retained message is delivered.
        A message that is delivered while this method blocks may also be returned; a returned
        message is not delivered later.

        Raises:
            BrokerUnavailable: the broker does not answer or refuses. Other subscribers may wait for
                the same channels, so the caller has to unsubscribe from channels without any.
        """

    def logged(self, channel: str) -> list[Message]:
        """Return the messages that `Log.append` has stored for a channel, oldest first.

        Blocks the calling greenlet. If called after `subscribe`, no message is missing between
        the returned and the delivered messages, but some may be in both.

        Raises:
            BrokerUnavailable: the broker does not answer or refuses.
        """

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """Stop delivering messages of channels; messages in transit may still arrive."""

    def refused(self) -> list[str]:
        """Return the channels whose subscription the broker refuses."""

    def publish(
        self, channels: Sequence[str], payload: bytes, expire: int, on_ack: Callable[[bool], None]
    ) -> None:
        """Publish without waiting, in the order of the calls.

        ``on_ack`` is called once, on the loop: with True when the message is published, with
        False if it was not published, or perhaps not.
        """

    def close(self) -> None:
        """End the feed; no message is delivered afterwards."""


class Broker(Protocol):
    """A carrier of messages between processes."""

    def open(self, loop: Loop, deliver: Deliver) -> Feed:
        """Return a feed for one hub; called on its loop."""

    def publish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        """Publish to all channels at once and retain the payload for ``expire`` seconds (0: not).

        This takes one round trip. Either all channels get the payload or none.

        Returns:
            The number of processes that receive it, added up over the channels.

        Raises:
            BrokerUnavailable: the payload may not have been published.
            ValueError: payload and channels make too many bytes of copies, see
                `wsredis.brokers.copies`.
        """

    async def apublish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        """Publish like `publish`, for callers on an asyncio loop."""

    def fetch(self, channels: Sequence[str]) -> list[Message]:
        """Return the retained messages, in the order of the channels; skip channels without one.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
