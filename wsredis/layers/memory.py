"""The channel layer inside one process: for tests and development.

Messages reach all threads, greenlets and event loops of the process, and no other process.
"""

from __future__ import annotations

import secrets
import time
from copy import deepcopy
from functools import partial

from ..runtime.owner import channel_owner
from .base import ChannelLayer, Message, channel_full
from .calls import allocate_lock, sync_or_async
from .inbox import Inbox

__all__ = ["InMemoryChannelLayer"]

_clock = time.monotonic

SWEEP_SECONDS = 1.0
"""Minimum seconds between two removals of all expired messages."""


class InMemoryChannelLayer(ChannelLayer):
    """A channel layer inside one process, with the methods of Django Channels' one.

    All methods can be awaited, and be called without a running asyncio loop: they are finished
    then when they return, and ``result()`` returns their result.
    """

    def _reset(self) -> None:
        self._lock = allocate_lock()
        self._channels: dict[str, Inbox[tuple[float, Message]]] = {}
        self._groups: dict[str, dict[str, float]] = {}
        self._sweep_at = 0.0

    @sync_or_async
    async def send(self, channel: str, message: Message) -> None:
        """Send a message to a channel.

        Raises:
            ChannelFull: too many messages wait in the channel.
            TypeError: the name is not valid, or the message is not a dict or cannot be copied.
        """
        self.require_valid_channel_name(channel)
        copy = _copy(message)
        with self._lock:
            self._sweep()
            if not self._put(channel, copy):
                raise channel_full(channel, self.get_capacity(channel))

    @sync_or_async
    async def receive(self, channel: str) -> Message:
        """Wait for the next message of a channel; one of several readers gets it."""
        self.require_valid_channel_name(channel)
        with self._lock:
            self._sweep()
            self._expire(channel)
            inbox = self._channels.setdefault(channel, Inbox(self._lock))
            waiter = inbox.ask()
        try:
            _, message = await inbox.wait(waiter)
        finally:
            with self._lock:
                self._drop_unused(channel, inbox)
        return message

    @sync_or_async
    async def new_channel(self, prefix: str = "specific") -> str:
        """Return the name of a new channel."""
        name = f"{prefix.removesuffix('.')}.inmemory!{secrets.token_hex(6)}"
        self.require_valid_channel_name(name)
        if (owner := channel_owner.get()) is not None:
            owner.add(partial(self._end, name))
        return name

    @sync_or_async
    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        with self._lock:
            self._groups.setdefault(group, {})[channel] = _clock()

    @sync_or_async
    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group, if it is a member."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        with self._lock:
            self._leave(group, channel)

    @sync_or_async
    async def group_send(self, group: str, message: Message) -> None:
        """Send a message to all channels of a group, except those that are full.

        Raises:
            TypeError: the name is not valid, or the message is not a dict or cannot be copied.
        """
        self.require_valid_group_name(group)
        copy = _copy(message)
        with self._lock:
            self._sweep()
            oldest = _clock() - self.group_expiry
            for channel, joined in list(self._groups.get(group, {}).items()):
                if joined <= oldest:
                    self._leave(group, channel)
                else:
                    self._put(channel, deepcopy(copy))

    @sync_or_async
    async def flush(self) -> None:
        """Drop all messages and groups."""
        with self._lock:
            self._groups.clear()
            for channel, inbox in list(self._channels.items()):
                inbox.items.clear()
                self._drop_unused(channel, inbox)

    @sync_or_async
    async def close(self) -> None:
        """Do nothing: there are no connections."""

    def _put(self, channel: str, message: Message) -> bool:
        self._expire(channel)
        inbox = self._channels.setdefault(channel, Inbox(self._lock))
        if len(inbox.items) >= self.get_capacity(channel):
            return False
        inbox.put((_clock() + self.expiry, message))
        return True

    def _sweep(self) -> None:
        """Drop all expired messages, unless that was done just now."""
        now = _clock()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            for channel in list(self._channels):
                self._expire(channel)

    def _expire(self, channel: str) -> None:
        """Drop expired messages of a channel, which then leaves its groups: it has no reader."""
        inbox = self._channels.get(channel)
        if inbox is None or not inbox.items or inbox.items[0][0] > _clock():
            return
        while inbox.items and inbox.items[0][0] <= _clock():
            inbox.items.popleft()
        self._leave_all(channel)
        self._drop_unused(channel, inbox)

    def _drop_unused(self, channel: str, inbox: Inbox[tuple[float, Message]]) -> None:
        unused = not inbox.items and not inbox.readers
        if unused and self._channels.get(channel) is inbox:
            del self._channels[channel]

    def _leave(self, group: str, channel: str) -> None:
        members = self._groups.get(group, {})
        members.pop(channel, None)
        if not members:
            self._groups.pop(group, None)

    def _leave_all(self, channel: str) -> None:
        for group in [group for group, members in self._groups.items() if channel in members]:
            self._leave(group, channel)

    def _end(self, channel: str) -> None:
        """End a channel whose application has ended."""
        with self._lock:
            self._leave_all(channel)
            self._channels.pop(channel, None)


def _copy(message: Message) -> Message:
    if not isinstance(message, dict):
        raise TypeError(f"a message must be a dict, not {type(message).__name__}")
    try:
        return deepcopy(message)
    except Exception as exc:
        raise TypeError("this message cannot be sent, because it cannot be copied") from exc
