"""Retained messages as a feed reads them, and channels that are known to have none.

Where nothing is retained, and that is known, a newcomer to a channel need not wait for Redis: of
two thousand that come back at once, the first two ask. Redis reports when a key that was read
changes: client-side caching, which comes as a push of RESP3, in order with everything else.

Only that there is nothing is remembered. What is retained expires, and Redis tells of that when it
deletes the key, which may be later. See
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
    """The retained messages of channels, read over one link after the other."""

    def __init__(self) -> None:
        self._none: set[str] = set()  # channels that retain nothing
        self._tracked: bool | None = None  # whether Redis reports changes; None before it was asked
        self._forgotten = 0

    def is_nothing(self, channels: Sequence[str]) -> bool:
        """Return whether it is known that none of some channels retains a message."""
        return self._none.issuperset(channels)

    def read(self, link: Link, channels: Sequence[str], answer: Answer) -> None:
        """Ask what channels retain; ``answer`` gets a list, or a `ReplyError`."""
        link.command(answer, "MGET", *channels, after_pushes=True)

    def read_and_track(self, link: Link, channels: Sequence[str], answer: Answer) -> None:
        """Read like `read`, and remember where there is nothing if Redis reports changes.

        For channels that are subscribed. Redis remembers each, so it is for those that several
        sockets listen to.
        """
        if self._tracked is None:
            self._tracked = True
            link.command(self._agree, "CLIENT", "TRACKING", "ON", "OPTIN")
        if self._tracked:
            link.command(self._agree, "CLIENT", "CACHING", "YES")  # holds for the next command
            answer = partial(self._remember, self._forgotten, channels, answer)
        self.read(link, channels, answer)

    def _agree(self, reply: Any) -> None:
        """Take Redis' answer; it may be too old, or not allow one or the other."""
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
        """Forget what is known of channels that may retain something now; None stands for all."""
        if channels is None:
            self._none.clear()
        elif self._none:
            self._none.difference_update(channels)

    def forget(self, channels: Iterable[str]) -> None:
        """Forget unsubscribed channels, also what replies on their way would tell of them."""
        self._none.difference_update(channels)
        self._forgotten += 1

    def reset(self) -> None:
        """Forget everything: the link is lost."""
        self._none.clear()
        self._forgotten += 1
        self._tracked = None
