"""The names that a channel layer over Redis gives to its channels, groups and queues."""

from __future__ import annotations

import re
import secrets

__all__ = ["Names"]

MARK = "8"
"""The digit of a channel's name that says that wsredis has made it; uuid4 has a 4 there."""


class Names:
    """The names of a layer in one process.

    Args:
        prefix: the beginning of all names in Redis.

    Attributes:
        tag: the part of the names of this process's channels that no other process has.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._own = re.compile(
            re.escape(prefix) + r"[a-zA-Z0-9\-_.]*\.(?P<tag>[0-9a-f]{12})(?P<mark>.)[0-9a-f]{19}"
        )
        self.renew()

    def renew(self) -> None:
        """Choose a new tag, as this process has been forked."""
        self.tag = secrets.token_hex(6)

    def new_channel(self, prefix: str) -> str:
        """Return a new name of a channel of this process."""
        digits = self.tag + MARK + secrets.token_hex(10)[1:]
        return f"{self._prefix}{prefix.removesuffix('.')}.{digits}"

    def is_made(self, channel: str) -> bool:
        """Return whether a name is like those that ``new_channel`` of a layer returns."""
        return self._own.fullmatch(channel) is not None

    def is_own(self, channel: str) -> bool:
        """Return whether a channel is received by one process only."""
        return "!" in channel or self.is_made(channel)

    def tag_of(self, channel: str) -> str | None:
        """Return the tag of the process that has made a channel; None if it is not wsredis'."""
        found = self._own.fullmatch(channel)
        return found["tag"] if found and found["mark"] == MARK else None

    def group(self, group: str) -> str:
        """Return the channel of Redis of a group."""
        return f"{self._prefix}__group__{group}"

    def queue(self, channel: str) -> str:
        """Return the key of Redis of a general channel's queue."""
        return f"{self._prefix}__queue__{channel}"
