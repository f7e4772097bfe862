"""The rate limit of one websocket, and the count of its bytes that the broker has not acked."""

from __future__ import annotations

import time

from ..config import Config

__all__ = ["RateLimit"]

MAX_UNACKED, OVERHEAD = 1 << 18, 256
"""Maximum bytes published by one websocket that the broker has not acked, and the bytes counted for
each of these messages besides its payload."""

FRAME_OVERHEAD = 1024
"""Bytes counted for a received frame besides its payload: parsing it takes as long as that."""


class RateLimit:
    """The counts of the data that one websocket sends; made when it first sends some."""

    __slots__ = ("_bytes", "_count", "_second", "_unacked")

    def __init__(self) -> None:
        self._second = self._count = self._bytes = self._unacked = 0

    def over_limit(self, config: Config, size: int, frames: int, messages: int) -> bool:
        """Count received data; return whether the current second of the clock is over a limit.

        Args:
            config: the options, for the limits.
            size: number of bytes.
            frames: number of frames of all kinds; a message may have many.
            messages: number of complete messages, pings and pongs.
        """
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count, self._bytes = second, 0, 0
        self._count += messages
        self._bytes += size + FRAME_OVERHEAD * frames
        most, most_bytes = config.max_messages_per_second, config.max_bytes_per_second
        return (most is not None and self._count > most) or (
            most_bytes is not None and self._bytes > most_bytes
        )

    def publish(self, size: int) -> None:
        """Count bytes that are sent to the broker."""
        self._unacked += size + OVERHEAD

    def ack(self, size: int) -> None:
        """Count bytes that the broker has acked, or that are lost."""
        self._unacked -= size + OVERHEAD

    @property
    def over_watermark(self) -> bool:
        """Return whether reading must pause until the broker has acked more bytes."""
        return self._unacked > MAX_UNACKED
