"""The application that the channels of a channel layer belong to, if a host runs it.

The host of an application sets `channel_owner` in the context in which the application runs. The
channels that the application makes then end with it, and the host learns that the application may
have missed messages.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

__all__ = ["ChannelOwner", "channel_owner"]


class ChannelOwner:
    """An application, for the channel layers that it uses.

    Args:
        on_gap: called when the application may have missed messages; from any thread, perhaps
            several times. It must not block.
    """

    def __init__(self, on_gap: Callable[[], None]) -> None:
        self.on_gap = on_gap
        self._ends: list[Callable[[], None]] = []
        self._closed = False

    def add(self, end: Callable[[], None]) -> None:
        """Add a function that ends a channel; it must not block, and is called in any thread."""
        self._ends.append(end)
        if self._closed:
            self.close()

    def close(self) -> None:
        """End the channels of the application, which has ended, and release it.

        Callbacks of the asyncio loop keep this object: those of a connection to Redis that was
        opened in the context of the application.
        """
        self._closed = True
        self.on_gap = _ignore
        while self._ends:
            self._ends.pop()()


def _ignore() -> None:
    """Do nothing: the application has ended."""


channel_owner: ContextVar[ChannelOwner | None] = ContextVar("channel_owner", default=None)
"""The running application; None if no host has set it."""
