"""How much may be published at once: Redis sends each subscriber a copy for each channel.

Redis closes a subscriber for which more bytes wait than its ``client-output-buffer-limit pubsub``,
and then every websocket of that process misses messages. See
https://redis.io/docs/latest/develop/reference/clients/#output-buffer-limits.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALWAYS_FITS", "OPTION", "OutputLimit"]

OPTION = "client-output-buffer-limit"
"""The option of Redis."""

ALWAYS_FITS = 1 << 22
"""Bytes of copies that need no look at the limit of Redis."""

UNLIMITED = 1 << 29
"""The limit of one publication if Redis has none."""


@dataclass(frozen=True, slots=True)
class OutputLimit:
    """The limit of Redis for the output that waits for one subscriber; 0 stands for none.

    Args:
        hard: bytes above which Redis closes the subscriber at once.
        soft: bytes above which Redis closes it after some time.
    """

    hard: int = 32 * 2**20
    soft: int = 8 * 2**20

    @classmethod
    def read(cls, value: str) -> OutputLimit:
        """Read the value of ``client-output-buffer-limit``: groups of class, hard, soft, seconds.

        Raises:
            ValueError: there is no group of the class pubsub.
        """
        words = value.split()
        at = words.index("pubsub")
        return cls(int(words[at + 1]), int(words[at + 2]))

    @property
    def at_once(self) -> int:
        """Return how many bytes one process may have published that Redis has not acked."""
        limits = [ALWAYS_FITS]
        limits += [self.hard // 8] if self.hard else []
        limits += [self.soft // 2] if self.soft else []
        return min(limits)

    @property
    def most(self) -> int:
        """Return the maximum bytes of the copies of one message."""
        return self.hard // 2 or UNLIMITED

    def check(self, size: int, channels: int) -> None:
        """Check the size of a message and the number of its channels.

        Raises:
            ValueError: the copies are too large together; the text says what to do instead.
        """
        copies = size * channels
        if copies > self.most:
            raise ValueError(
                f"A message of {size} bytes to {channels} channels makes {copies} bytes of copies,"
                f" and at most {self.most} are allowed: half of what Redis lets wait for a"
                " subscriber (client-output-buffer-limit pubsub). Publish to fewer channels at a"
                " time, or publish a short message and let the clients fetch the rest."
            )
