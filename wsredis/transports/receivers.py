"""The pool of parsers of a process, for the websockets that are in the middle of a message."""

from __future__ import annotations

from ..config import Config
from ..protocol.frames import Receiver

__all__ = ["SPARE_RECEIVERS", "Receivers"]

SPARE_RECEIVERS = 64
"""Maximum idle receivers per kind in the pool."""


class Receivers:
    """A pool of idle receivers; used on one loop.

    Args:
        config: the options, for the limits of messages.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._spare: dict[bool, list[Receiver]] = {False: [], True: []}

    def lend(self, deflate: bool) -> Receiver:
        """Return a receiver for a client that has sent bytes."""
        spare = self._spare[deflate]
        if spare:
            return spare.pop()
        c = self._config
        most = c.max_bytes_per_second
        return Receiver(deflate, c.max_message_size, c.max_fragments, c.binary, most)

    def take_back(self, receiver: Receiver) -> None:
        """Put a receiver that is not busy back into the pool."""
        spare = self._spare[receiver.deflate]
        if len(spare) < SPARE_RECEIVERS:
            spare.append(receiver)
