"""The parsers of a process, lent to the websockets that are in the middle of a message."""

from __future__ import annotations

from ..config import Config
from ..protocol.frames import Receiver

__all__ = ["SPARE_RECEIVERS", "Receivers"]

SPARE_RECEIVERS = 64
"""Idle receivers kept for the next client that sends something."""


class Receivers:
    """A pool of receivers without content; used on one loop.

    Args:
        config: its limits for messages.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._spare: dict[bool, list[Receiver]] = {False: [], True: []}

    def lend(self, deflate: bool) -> Receiver:
        """Return a receiver for a client that has sent something."""
        spare = self._spare[deflate]
        if spare:
            return spare.pop()
        c = self._config
        most = c.max_bytes_per_second
        return Receiver(deflate, c.max_message_size, c.max_fragments, c.binary, most)

    def take_back(self, receiver: Receiver) -> None:
        """Take a receiver that is not busy for the next client."""
        spare = self._spare[receiver.deflate]
        if len(spare) < SPARE_RECEIVERS:
            spare.append(receiver)
