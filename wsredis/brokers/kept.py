"""Kept messages as a feed reads them, and channels that are known to have none.

Where nothing is kept, and that is known, a newcomer to a channel need not wait for Redis: of two
thousand that come back at once, the first two ask. Redis promises to tell when a key that was read
changes: client-side caching, which comes as a push of RESP3, in order with everything else.

Only that there is nothing is remembered. What is kept expires, and Redis tells of that when it
deletes the key, which may be later. See
https://redis.io/docs/latest/develop/reference/client-side-caching/.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from .link import Answer, Link
from .resp import ReplyError

__all__ = ["Kept"]


class Kept:
    """Read what is kept, over one link after the other."""

    def __init__(self) -> None:
        self._none: set[str] = set()  # channels that keep nothing
        self._told: bool | None = None  # whether Redis tells of changes; None before it was asked
        self._forgotten = 0

    def is_nothing(self, channels: Sequence[str]) -> bool:
        """Tell whether it is known that none of some channels keeps a message."""
        return self._none.issuperset(channels)

    def read(self, link: Link, channels: Sequence[str], answer: Answer) -> None:
        """Ask what channels keep; ``answer`` gets a list, or a `ReplyError`."""
        link.command(answer, "MGET", *channels, after_pushes=True)

    def study(self, link: Link, channels: Sequence[str], answer: Answer) -> None:
        """Do as `read`, and remember where there is nothing if Redis tells when that changes.

        For channels that are subscribed. Redis remembers each, so it is for those that several
        sockets listen to.
        """
        if self._told is None:
            self._told = True
            link.command(self._agree, "CLIENT", "TRACKING", "ON", "OPTIN")
        if self._told:
            link.command(self._agree, "CLIENT", "CACHING", "YES")  # holds for the next command
            answer = partial(self._learn, self._forgotten, channels, answer)
        self.read(link, channels, answer)

    def _agree(self, reply: Any) -> None:
        """Take Redis' word; it may be too old, or not allow one or the other."""
        if isinstance(reply, ReplyError):
            self._told = False

    def _learn(self, forgotten: int, channels: Sequence[str], answer: Answer, reply: Any) -> None:
        if self._told and forgotten == self._forgotten and isinstance(reply, list):
            pairs = zip(channels, reply, strict=True)
            self._none.update(name for name, payload in pairs if payload is None)
        answer(reply)

    def changed(self, channels: Iterable[str] | None) -> None:
        """Take word of channels that may keep something now; None stands for all."""
        if channels is None:
            self._none.clear()
        elif self._none:
            self._none.difference_update(channels)

    def forget(self, channels: Iterable[str]) -> None:
        """Know nothing of channels that are left, nor learn it from what was asked before."""
        self._none.difference_update(channels)
        self._forgotten += 1

    def reset(self) -> None:
        """Know nothing at all: the link is lost."""
        self._none.clear()
        self._forgotten += 1
        self._told = None
