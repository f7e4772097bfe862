"""How much one socket has sent lately: too much in a second, or more than the broker has acked."""

from __future__ import annotations

import time

from ..config import Config

__all__ = ["RateLimit"]

MAX_UNACKED, OVERHEAD = 1 << 18, 256
"""Bytes one socket may have published that the broker has not acked, and what a frame or a message
costs beside its payload."""


class RateLimit:
    """The counts of what one socket sends; made when it first sends something."""

    __slots__ = ("_bytes", "_count", "_second", "_unacked")

    def __init__(self) -> None:
        self._second = self._count = self._bytes = self._unacked = 0

    def over_limit(self, config: Config, size: int, frames: int, messages: int) -> bool:
        """Return whether this second of the clock has brought too much, with what came just now.

        Args:
            config: the limits.
            size: bytes.
            frames: of all kinds; a message may come in many.
            messages: whole messages, pings and pongs.
        """
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count, self._bytes = second, 0, 0
        self._count += messages
        self._bytes += size + OVERHEAD * frames
        most, most_bytes = config.max_messages_per_second, config.max_bytes_per_second
        return (most is not None and self._count > most) or (
            most_bytes is not None and self._bytes > most_bytes
        )

    def publish(self, size: int) -> None:
        """Count bytes on their way to the broker."""
        self._unacked += size + OVERHEAD

    def ack(self, size: int) -> None:
        """Count bytes that the broker has acked, or that are lost."""
        self._unacked -= size + OVERHEAD

    @property
    def over_watermark(self) -> bool:
        """Return whether the broker must catch up before more is read."""
        return self._unacked > MAX_UNACKED
