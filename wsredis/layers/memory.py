"""The channel layer inside one process: for tests and development.

Messages reach all threads, greenlets and event loops of the process, and no other process.
"""

from __future__ import annotations

import secrets
import time
from copy import deepcopy
from functools import partial

from ..runtime.owner import channel_owner
from .base import ChannelLayer, channel_full
from .calls import Finished, allocate_lock, sync_or_async
from .codec import Message
from .inbox import Inbox
from .members import Kind, Member, copier

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
        self._members: dict[str, dict[Kind, dict[Member, None]]] = {}  # consumers, by group
        self._own: dict[str, Member] = {}  # consumers, by their channel
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
        if (member := self._own.get(channel)) is not None:
            member.kind.deliver((member,), copier(copy))
            return
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
        if (member := self._own.get(channel)) is not None:
            self.join(group, member)
            return
        with self._lock:
            self._groups.setdefault(group, {})[channel] = _clock()

    @sync_or_async
    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group, if it is a member."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        if (member := self._own.get(channel)) is not None:
            self.leave(group, member)
            return
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
            members = [(kind, tuple(each)) for kind, each in self._members.get(group, {}).items()]
        for kind, each in members:
            kind.deliver(each, copier(copy))

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

    # Members

    def join(self, group: str, member: Member) -> None:
        """Add a consumer to a group."""
        self.check_room(group, member)
        with self._lock:
            self._members.setdefault(group, {}).setdefault(member.kind, {})[member] = None
            member.groups.add(group)
        if member.ended:  # meanwhile, so it has not left this group
            self.leave(group, member)

    def leave(self, group: str, member: Member) -> None:
        """Remove a consumer from a group, if it is a member."""
        with self._lock:
            member.groups.discard(group)
            kinds = self._members.get(group, {})
            members = kinds.get(member.kind, {})
            members.pop(member, None)
            if not members:
                kinds.pop(member.kind, None)
            if not kinds:
                self._members.pop(group, None)

    def open(self, member: Member) -> Finished[str]:
        """Return the name of a new channel whose messages a consumer gets."""
        name = f"specific.inmemory!{secrets.token_hex(6)}"
        self._own[name] = member
        return Finished(name)

    def end_channel(self, name: str) -> None:
        """End a channel of a consumer, which has ended."""
        self._own.pop(name, None)

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
