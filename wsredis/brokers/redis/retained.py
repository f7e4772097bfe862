"""Reading retained messages, and a cache of the channels that have none.

If a channel is known to have no retained message, a new subscriber need not wait for Redis: when
two thousand clients reconnect at once, only the first two read from Redis. Redis reports when a key
that was read changes (client-side caching), with a RESP3 push that is in order with all other data.

Only missing messages are cached. Retained messages are not: they expire, and Redis reports that
only when it deletes the key, which may be later. See
https://redis.io/docs/latest/develop/reference/client-side-caching/.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from .link import Answer, Link
from .resp import ReplyError

__all__ = ["Retained"]


class Retained:
    """A reader of retained messages that remembers channels without one."""

    def __init__(self) -> None:
        self._none: set[str] = set()  # channels without a retained message
        self._tracked: bool | None = None  # whether Redis reports changes; None if not tried yet
        self._forgotten = 0

    def is_nothing(self, channels: Sequence[str]) -> bool:
        """Return whether all of some channels are known to have no retained message."""
        return self._none.issuperset(channels)

    def read(self, link: Link, channels: Sequence[str], answer: Answer) -> None:
        """Read the retained messages of channels; ``answer`` gets a list, or a `ReplyError`."""
        link.command(answer, "MGET", *channels, after_pushes=True)

    def read_and_track(self, link: Link, channels: Sequence[str], answer: Answer) -> None:
        """Read like `read`, and remember channels without a message if Redis reports changes.

        The channels must be subscribed. Redis stores each of them, so this is only called for
        channels with several subscribers.
        """
        if self._tracked is None:
            self._tracked = True
            link.command(self._agree, "CLIENT", "TRACKING", "ON", "OPTIN")
        if self._tracked:
            link.command(self._agree, "CLIENT", "CACHING", "YES")  # applies to the next command
            answer = partial(self._remember, self._forgotten, channels, answer)
        self.read(link, channels, answer)

    def _agree(self, reply: Any) -> None:
        """Handle Redis' reply; it may be too old for tracking, or not allow it."""
        if isinstance(reply, ReplyError):
            self._tracked = False

    def _remember(
        self, forgotten: int, channels: Sequence[str], answer: Answer, reply: Any
    ) -> None:
        if self._tracked and forgotten == self._forgotten and isinstance(reply, list):
            pairs = zip(channels, reply, strict=True)
            self._none.update(name for name, payload in pairs if payload is None)
        answer(reply)

    def changed(self, channels: Iterable[str] | None) -> None:
        """Forget channels that may have a retained message now; None stands for all channels."""
        if channels is None:
            self._none.clear()
        elif self._none:
            self._none.difference_update(channels)

    def forget(self, channels: Iterable[str]) -> None:
        """Forget unsubscribed channels, and ignore pending replies about them."""
        self._none.difference_update(channels)
        self._forgotten += 1

    def reset(self) -> None:
        """Forget everything, as the link is lost."""
        self._none.clear()
        self._forgotten += 1
        self._tracked = None
