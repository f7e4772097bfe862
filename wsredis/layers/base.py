"""The common part of channel layers: names, capacities, exceptions."""

from __future__ import annotations

import fnmatch
import math
import os
import re
import sys
import time
import weakref
from abc import abstractmethod
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar, TypeVar

from ..exceptions import ChannelFull, ConfigurationError, MessageTooLarge, WSRedisError
from ..runtime.logs import get_logger
from .calls import mark
from .codec import Message
from .members import Member, too_many_groups

__all__ = ["ChannelLayer", "channel_full", "is_text", "positive", "too_large"]

T = TypeVar("T")

Awaited = Awaitable[T]

log = get_logger("wsredis.layers")

_clock = time.monotonic

LOG_SECONDS = 60.0
"""Minimum seconds between two log records about dropped messages."""

METHODS = (
    *("send", "receive", "new_channel", "group_add", "group_discard", "group_send"),
    *("flush", "close"),
)
"""The methods of a layer that can be awaited."""

_GROUP = re.compile(r"[a-zA-Z0-9\-_.]+")
_CHANNEL = re.compile(r"[a-zA-Z0-9\-_.]+(![a-zA-Z0-9\-_.]*)?")

_layers: weakref.WeakSet[ChannelLayer] = weakref.WeakSet()


class ChannelLayer:
    """The common part of channel layers.

    Args:
        expiry: seconds after which a message that was not received is dropped.
        group_expiry: seconds after which a membership of a group ends (see docs/layers.md).
        capacity: maximum number of messages that wait in a channel.
        channel_capacity: other capacities, by a glob pattern, or a compiled regular expression, of
            the channel's name; the first match applies.

    Attributes:
        dropped: the number of messages that this process has received and dropped.

    Raises:
        ConfigurationError: an argument is not valid.
    """

    MAX_NAME_LENGTH = 100
    """Names must be shorter."""

    extensions: ClassVar = ["groups", "flush"]

    def __init__(
        self,
        expiry: float = 60,
        group_expiry: float = 86400,
        capacity: int = 100,
        channel_capacity: Mapping[str | re.Pattern[str], int] | None = None,
    ) -> None:
        times: list[tuple[str, Any]] = [("expiry", expiry), ("group_expiry", group_expiry)]
        for name, seconds in times:
            if not (isinstance(seconds, int | float) and 0 < seconds < math.inf):
                raise ConfigurationError(f"{name}={seconds!r} is not valid: write seconds above 0.")
        self.expiry = expiry
        self.group_expiry = group_expiry
        self.capacity = positive("capacity", capacity)
        self.channel_capacity = [
            (
                re.compile(fnmatch.translate(pattern)) if isinstance(pattern, str) else pattern,
                positive(f"channel_capacity[{pattern!r}]", value),
            )
            for pattern, value in (channel_capacity or {}).items()
        ]
        self.dropped = 0
        self._unlogged = 0
        self._log_at = 0.0
        for method in METHODS:
            mark(getattr(type(self), method))
        self._reset()
        _layers.add(self)

    @abstractmethod
    def _reset(self) -> None:
        """Forget all channels, without ending them; also called in a forked child."""

    # The methods of every layer

    @abstractmethod
    def send(self, channel: str, message: Message) -> Awaited[None]:
        """Send a message to a channel."""

    @abstractmethod
    def receive(self, channel: str) -> Awaited[Message]:
        """Wait for the next message of a channel."""

    @abstractmethod
    def new_channel(self, prefix: str = "specific") -> Awaited[str]:
        """Return the name of a new channel."""

    @abstractmethod
    def group_add(self, group: str, channel: str) -> Awaited[None]:
        """Add a channel to a group."""

    @abstractmethod
    def group_discard(self, group: str, channel: str) -> Awaited[None]:
        """Remove a channel from a group."""

    @abstractmethod
    def group_send(self, group: str, message: Message) -> Awaited[None]:
        """Send a message to all channels of a group."""

    @abstractmethod
    def flush(self) -> Awaited[None]:
        """Drop all messages and groups."""

    @abstractmethod
    def close(self) -> Awaited[None]:
        """Release what the layer holds."""

    # The methods for consumers of this process; they are called in sync code and may block.

    @abstractmethod
    def join(self, group: str, member: Member) -> Any:
        """Add a consumer of this process to a group."""

    @abstractmethod
    def leave(self, group: str, member: Member) -> None:
        """Remove a consumer of this process from a group, if it is a member."""

    @abstractmethod
    def open(self, member: Member) -> Any:
        """Return (with ``result()``) the name of a new channel for a consumer."""

    @abstractmethod
    def end_channel(self, name: str) -> None:
        """End a channel of a consumer, which has ended."""

    def check_room(self, group: str, member: Member) -> None:
        """Check the name of a group, and that a consumer may join one more.

        Raises:
            TypeError: the name is not valid.
            ValueError: it is a member of too many.
        """
        self.require_valid_group_name(group)
        if len(member.groups) >= member.max_groups and group not in member.groups:
            raise too_many_groups(member.max_groups)

    def drop(self, channel: str, reason: str) -> None:
        """Count a message that this process has received and dropped, and log it at times."""
        self.dropped += 1
        self._unlogged += 1
        now = _clock()
        if now >= self._log_at:
            self._log_at = now + LOG_SECONDS
            count, self._unlogged = self._unlogged, 0
            log.warning("%d messages dropped, the last one for %s: %s", count, channel, reason)

    def get_capacity(self, channel: str) -> int:
        """Return how many messages may wait in a channel."""
        for pattern, capacity in self.channel_capacity:
            if pattern.match(channel):
                return capacity
        return self.capacity

    def require_valid_channel_name(self, name: str, receive: bool = False) -> bool:
        """Check the name of a channel.

        Raises:
            TypeError: it is not valid.
        """
        return self._require("channel", _CHANNEL, name)

    def require_valid_group_name(self, name: str) -> bool:
        """Check the name of a group.

        Raises:
            TypeError: it is not valid.
        """
        return self._require("group", _GROUP, name)

    def _require(self, kind: str, pattern: re.Pattern[str], name: Any) -> bool:
        valid = is_text(name) and len(name) < self.MAX_NAME_LENGTH
        if not (valid and pattern.fullmatch(name)):
            raise TypeError(
                f"{name!r:.120} is not a valid {kind} name: write a str of less than"
                f" {self.MAX_NAME_LENGTH} ASCII letters, digits, hyphens, underscores and periods."
            )
        return True


def is_text(value: object) -> bool:
    """Return whether a value is a str."""
    return isinstance(value, str)


def positive(name: str, value: Any) -> int:
    """Return the value of an option if it is a number above 0.

    Raises:
        ConfigurationError: it is none.
    """
    if type(value) is not int or value < 1:
        raise ConfigurationError(f"{name}={value!r} is not valid: write a number above 0.")
    return value


def channel_full(channel: str, capacity: int) -> Exception:
    """Return the exception for a channel in which too many messages wait."""
    return _as_channels_error(ChannelFull(f"{channel}: {capacity} messages wait already"))


def too_large(size: int, most: int | None = None) -> Exception:
    """Return the exception for a message of more than some bytes; None for the limit of Redis."""
    limit = "" if most is None else f" to {most} bytes"
    return _as_channels_error(
        MessageTooLarge(
            f"a message of {size} bytes is too large: shorten it{limit}, or send where to find it"
        )
    )


def _as_channels_error(error: WSRedisError) -> Exception:
    """Return an exception that is also the one of the package channels, if that is in use."""
    kind = type(error)
    theirs = getattr(sys.modules.get("channels.exceptions"), kind.__name__, None)
    if theirs is None:
        return error
    both: type[Exception] = type(kind.__name__, (kind, theirs), {"__module__": kind.__module__})
    return both(*error.args)


def _after_fork() -> None:
    """Reset the layers in a child: their readers and the holders of their locks do not exist."""
    for layer in list(_layers):
        layer._reset()


os.register_at_fork(after_in_child=_after_fork)
