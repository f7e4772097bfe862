"""What a transport needs of the hub of its process. The hub itself is not known here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..config import Config
from ..hub.stats import HubStats
from ..hub.subscriber import Sender, Subscriber

__all__ = ["Host"]


class Host(Protocol):
    """The hub, as its transports see it; used on its loop.

    Attributes:
        config: the options of the middleware.
        stats: where transports count.
        heartbeats: messages that are swallowed when a client sends them.
        io: makes a watcher of the loop for a descriptor and events.
        soon: calls a function in the loop's next turn, from any thread.
    """

    config: Config
    stats: HubStats
    heartbeats: Sequence[str | bytes]
    io: Callable[[int, int], Any]
    soon: Callable[..., None]

    def publish(
        self, sender: Sender, channels: Sequence[str], payload: bytes, echo: bool, expire: int
    ) -> None:
        """Publish what a client has sent, and call ``sender.on_ack`` once."""

    def closing(self, subscriber: Subscriber) -> None:
        """Take out of its channels one that is closing; it is aborted at the deadline."""

    def forget(self, subscriber: Subscriber) -> None:
        """Drop everything that is known of one that has ended."""
