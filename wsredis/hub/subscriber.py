"""What the hub needs of whoever subscribes to channels. No transport is known here."""

from __future__ import annotations

from typing import Protocol

from ..identity import Identity
from .encoding import Encoded, Encoding

__all__ = ["Sender", "Slots", "Subscriber"]

Slots = tuple[tuple[str, str], ...]
"""What a subscriber takes of the limits beside its place in the process: kinds and names."""


class Subscriber(Protocol):
    """One client that the hub writes to; used on the hub's loop only.

    The hub itself keeps ``bucket`` and ``channels`` here and counts in ``sent``.

    Attributes:
        bucket: the part of all subscribers that it is pinged with.
        channels: the channels it is subscribed to.
        encoding: what messages look like for it.
        identity: of the client.
        sent: messages that were written to it or into its send buffer.
        since: when its handshake began, and so before its identity was asked for (monotonic).
        slots: what it takes of the limits.
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
        """Return the descriptor of its socket; used only where ``send_buffer`` is None."""

    @property
    def send_buffer(self) -> object | None:
        """Return what waits to be sent; None if nothing does, and it is written to at once."""

    @property
    def send_buffer_size(self) -> int:
        """Return the bytes that wait to be sent."""

    @property
    def is_open(self) -> bool:
        """Return whether it has been opened and is not closing."""

    @property
    def is_silent(self) -> bool:
        """Return whether nothing has come from an open one since `ping`."""

    def ping(self) -> None:
        """Ask an open one for a sign of life."""

    def write(self, data: bytes, encoded: Encoded | None = None) -> None:
        """Send bytes now, or keep what the socket does not take.

        Args:
            data: whole frames or events.
            encoded: the messages of a channel that they carry, if they do.
        """

    def on_partial_write(self, sent: int, data: bytes, encoded: Encoded | None = None) -> None:
        """Take care of bytes that the socket has not taken at once (see `wsredis.hub.fanout`).

        Args:
            sent: the bytes of them it has taken, -1 if it is dead.
            data: whole frames or events.
            encoded: the messages of a channel that they carry, if they do.
        """

    def send_retained(self, messages: list[Encoded]) -> None:
        """Send retained messages, whatever the limit of the send buffer."""

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close, after what waits to be sent."""

    def kick(self, code: int, reason: str) -> bool:
        """Close without sending what waits; return False for one that is closing already."""

    def abort(self) -> None:
        """End the socket at once."""


class Sender(Subscriber, Protocol):
    """A subscriber that publishes through the hub."""

    def on_ack(self, size: int) -> None:
        """Count the bytes of a payload that is published, or lost."""
