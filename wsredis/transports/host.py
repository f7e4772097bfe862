"""The interface of the hub that transports use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..config import Config
from ..hub.memory import BufferMemory
from ..hub.stats import HubStats
from ..hub.subscriber import Client, Sender

__all__ = ["Host"]


class Host(Protocol):
    """The part of the hub that transports use, on the hub's loop.

    Attributes:
        config: the options of the middleware.
        stats: the counters of the hub.
        heartbeats: messages that are ignored when a client sends them.
        memory: the memory of send buffers and unfinished messages.
        io: makes a watcher of the loop for a descriptor and events.
        timer: makes a timer of the loop for a time in seconds.
        soon: calls a function in the loop's next iteration, from any thread.
        calling: the endpoint's method that is called, in a new tuple for each call; None if none.
    """

    config: Config
    stats: HubStats
    heartbeats: Sequence[str | bytes]
    memory: BufferMemory
    io: Callable[[int, int], Any]
    timer: Callable[[float], Any]
    soon: Callable[..., None]
    calling: tuple[Callable[..., Any]] | None

    def publish(
        self, sender: Sender, channels: Sequence[str], payload: bytes, echo: bool, expire: int
    ) -> None:
        """Publish a message of a client, and call ``sender.on_ack`` once."""

    def begin_handshake(self, subscriber: Client) -> None:
        """Start the deadline for answering a handshake, after which it is closed (1013)."""

    def end_handshake(self, subscriber: Client) -> None:
        """Cancel the deadline of a handshake that was answered, or whose client has ended."""

    def closing(self, subscriber: Client) -> None:
        """Unsubscribe a closing subscriber from its channels, and abort it at the deadline."""

    def forget(self, subscriber: Client) -> None:
        """Remove a subscriber that has ended."""
