"""The interfaces of subscribers, which transports and channel layers implement for the hub."""

from __future__ import annotations

from typing import Protocol

from ..identity import Identity
from .encoding import Encoded, Encoding

__all__ = ["Client", "Sender", "Slots", "Subscriber"]

Slots = tuple[tuple[str, str], ...]
"""The slots of a client besides that of the process, as pairs of kind and name."""


class Subscriber(Protocol):
    """An object that gets the messages of some channels; used on the hub's loop only.

    The hub sets ``bucket`` and ``channels`` and counts in ``sent``.

    Attributes:
        bucket: the bucket of `Keepalive` that a client is pinged with; 0 for other subscribers.
        channels: the channels it is subscribed to.
        encoding: the encoding of its messages.
        sent: number of messages written to its socket or into its send buffer.
        since: time from which it wants messages; for a client the time at which its handshake
            began, before it was identified (monotonic).
    """

    bucket: int
    channels: tuple[str, ...]
    encoding: Encoding
    sent: int
    since: float

    @property
    def fd(self) -> int:
        """Return the descriptor of its socket; used only while ``send_buffer`` is None."""

    @property
    def send_buffer(self) -> object | None:
        """Return the send buffer; None if no bytes wait and the socket is written to directly.

        A subscriber without a socket never returns None, so all its messages go to
        `on_partial_write`.
        """

    def on_partial_write(self, sent: int, data: bytes, encoded: Encoded | None = None) -> None:
        """Handle bytes that the socket did not take at once (see `wsredis.hub.fanout`).

        Args:
            sent: number of bytes that it took, -1 if it failed.
            data: complete frames or events.
            encoded: the messages of a channel that the bytes contain, or None.
        """

    def send_retained(self, messages: list[Encoded]) -> None:
        """Send retained messages."""

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close a client, after the buffered bytes are sent.

        Of other subscribers this is only called when they may have missed messages, and when the
        broker refuses a channel; they remain subscribed.
        """

    def abort(self) -> None:
        """End the subscriber at once."""


class Client(Subscriber, Protocol):
    """A subscriber with a socket, on which it also sends.

    Attributes:
        identity: the identity of the client.
        slots: its slots of the limits.
    """

    identity: Identity
    slots: Slots

    @property
    def send_buffer_size(self) -> int:
        """Return the number of bytes that wait to be sent."""

    @property
    def buffered(self) -> int:
        """Return the bytes of its send buffer and of the message that its client is sending."""

    @property
    def paused(self) -> bool:
        """Return whether the client is not read at present."""

    @property
    def takes_heartbeats(self) -> bool:
        """Return whether it is open, and gets the text of the option ``heartbeat``."""

    @property
    def is_silent(self) -> bool:
        """Return whether it is open and has sent nothing since `ping`."""

    def ping(self) -> None:
        """Send a ping if it is open."""

    def write(self, data: bytes, encoded: Encoded | None = None) -> None:
        """Send bytes now, or buffer the bytes that the socket does not take.

        Args:
            data: complete frames or events.
            encoded: the messages of a channel that the bytes contain, or None.
        """

    def kick(self, code: int, reason: str) -> bool:
        """Close without sending buffered bytes; return False if it is already closing."""


class Sender(Client, Protocol):
    """A client that publishes through the hub."""

    def on_ack(self, size: int) -> None:
        """Count the bytes of a payload that is published, or lost."""
