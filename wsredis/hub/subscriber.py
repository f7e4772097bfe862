"""The interface of subscribers, which transports implement for the hub."""

from __future__ import annotations

from typing import Protocol

from ..identity import Identity
from .encoding import Encoded, Encoding

__all__ = ["Sender", "Slots", "Subscriber"]

Slots = tuple[tuple[str, str], ...]
"""The slots of a subscriber besides that of the process, as pairs of kind and name."""


class Subscriber(Protocol):
    """A client that the hub writes to; used on the hub's loop only.

    The hub sets ``bucket`` and ``channels`` and counts in ``sent``.

    Attributes:
        bucket: the bucket of `Keepalive` that it is pinged with.
        channels: the channels it is subscribed to.
        encoding: the encoding of its messages.
        identity: the identity of the client.
        sent: number of messages written to its socket or into its send buffer.
        since: time at which its handshake began, before it was identified (monotonic).
        slots: its slots of the limits.
    """

    bucket: int
    channels: tuple[str, ...]
    encoding: Encoding
    identity: Identity
    sent: int
    since: float
    slots: Slots

    @property
    def fd(self) -> int:
        """Return the descriptor of its socket; used only while ``send_buffer`` is None."""

    @property
    def send_buffer(self) -> object | None:
        """Return the send buffer; None if no bytes wait and the socket is written to directly."""

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
    def is_open(self) -> bool:
        """Return whether it has been opened and is not closing."""

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
        """Begin to close, after the buffered bytes are sent."""

    def kick(self, code: int, reason: str) -> bool:
        """Close without sending buffered bytes; return False if it is already closing."""

    def abort(self) -> None:
        """End the socket at once."""


class Sender(Subscriber, Protocol):
    """A subscriber that publishes through the hub."""

    def on_ack(self, size: int) -> None:
        """Count the bytes of a payload that is published, or lost."""
