"""The channel layer over Redis, which shares groups and own channels with channels_redis.

Messages to groups and own channels are published, like those of ``RedisPubSubChannelLayer`` of
channels_redis. Messages to general channels are put into queues, so that one of several readers
gets each. Receiving uses the link of this process's hub, which is started if there is none; sending
needs no hub.

Invariants:

* A channel is in ``_channels`` from the time it is made, or first received, until it has ended.
* ``lock`` protects ``_channels``, ``_readers`` and their inboxes; it is never held while waiting.
"""

from __future__ import annotations

import binascii
import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from ..exceptions import ConfigurationError
from ..process import Process
from ..runtime.loop import Loop
from ..runtime.owner import ChannelOwner, channel_owner
from .base import ChannelLayer, channel_full, is_text, positive, too_large
from .calls import allocate_lock, run_on, running_loop, sync_or_async
from .codec import Codec, Message
from .control import GroupControl
from .groups import GroupFeed
from .members import Member, copier
from .names import Names
from .receivers import OwnChannel, QueueReader
from .shards import Shard, shards_of

__all__ = ["MAX_PREFIX", "RedisChannelLayer"]

_clock = time.monotonic

MAX_PREFIX = 50
"""Maximum characters of a prefix, as names of channels with it must be shorter than 100."""

SWEEP_SECONDS = 1.0
"""Minimum seconds between two searches for channels that are not received."""

NOT_OURS = (
    "{channel!r} cannot be added to a group: only the process that receives it can do that, unless"
    " it was made by new_channel() of a RedisChannelLayer of wsredis."
)


class RedisChannelLayer(ChannelLayer):
    """A channel layer over Redis.

    All methods can be awaited, and be called without a running asyncio loop: they are finished
    then when they return, and ``result()`` returns their result.

    Args:
        hosts: a list of URLs, (host, port) pairs, or dicts of redis-py's arguments, also with
            ``address`` for a URL; several share the channels. By default the option ``redis``.
        prefix: the beginning of all names in Redis.
        expiry: seconds after which a message of a general channel is dropped if it was not
            received, and seconds for which an own channel is kept after its reader was cancelled
            or has failed.
        group_expiry: seconds after which any other own channel ends that is not received.
        capacity: maximum number of messages that wait in a channel.
        channel_capacity: other capacities, by a glob pattern, or a compiled regular expression, of
            the channel's name; the first match applies.
        symmetric_encryption_keys: secrets, of which the first encrypts and all decrypt.
        serializer_format: ``msgpack`` or ``json``.
        max_event_size: maximum bytes of a message.
        on_disconnect, on_reconnect: ignored, as in channels_redis.

    Raises:
        ConfigurationError: an argument is not valid, or a library is missing.
    """

    def __init__(
        self,
        hosts: Iterable[Any] | None = None,
        prefix: str = "asgi",
        expiry: float = 60,
        group_expiry: float = 86400,
        capacity: int = 100,
        channel_capacity: Mapping[str | re.Pattern[str], int] | None = None,
        symmetric_encryption_keys: Iterable[str | bytes] | None = None,
        serializer_format: str = "msgpack",
        max_event_size: int = 2 << 20,
        on_disconnect: object = None,
        on_reconnect: object = None,
    ) -> None:
        if not (is_text(prefix) and len(prefix) <= MAX_PREFIX):
            raise ConfigurationError(
                f"prefix={prefix!r:.100} is not valid: write a str of at most {MAX_PREFIX}"
                " characters."
            )
        self.prefix = prefix
        self.max_event_size = positive("max_event_size", max_event_size)
        self._shards = shards_of(hosts)
        self._codec = Codec(serializer_format, symmetric_encryption_keys or ())
        self._names = Names(prefix)
        changes = {"group_add": self.group_add, "group_discard": self.group_discard}
        self._control = GroupControl(self._codec, changes, self._loop_of, self.drop)
        super().__init__(expiry, group_expiry, capacity, channel_capacity)

    def _reset(self) -> None:
        self.lock = allocate_lock()
        self._channels: dict[str, OwnChannel] = {}
        self._readers: dict[str, QueueReader] = {}
        self._feeds: dict[str, GroupFeed] = {}  # by the group's channel in Redis
        self._names.renew()
        self._sweep_at = 0.0

    def require_valid_channel_name(self, name: str, receive: bool = False) -> bool:
        """Check the name of a channel; that of an own channel may begin with any prefix.

        Raises:
            TypeError: it is not valid.
        """
        if is_text(name) and len(name) < self.MAX_NAME_LENGTH and self._names.is_made(name):
            return True
        return super().require_valid_channel_name(name, receive)

    # Sending

    @sync_or_async
    async def send(self, channel: str, message: Message) -> None:
        """Send a message to a channel.

        Raises:
            BrokerUnavailable: Redis does not answer; the message may not have been sent.
            ChannelFull: too many messages wait in the channel, which is a general one or received
                in this process. Other processes drop messages that do not fit.
            MessageTooLarge: it is larger than ``max_event_size``, or Redis would close its
                subscribers for it.
            TypeError: the name is not valid, or the message is not a dict or cannot be serialized.
        """
        self.require_valid_channel_name(channel)
        payload = self._encode(message)
        if not self._names.is_own(channel):
            await self._push(channel, payload)
            return
        own = self._channels.get(channel)
        if own is None:
            await self._publish(channel, payload)
            return
        if not own.reserve():
            raise channel_full(channel, own.capacity)
        receivers = 0
        try:
            receivers = await self._publish(channel, payload)
        finally:
            if not receivers:
                own.unreserve()

    @sync_or_async
    async def group_send(self, group: str, message: Message) -> None:
        """Send a message to all channels of a group, in all processes.

        Raises:
            BrokerUnavailable: Redis does not answer; the message may not have been sent.
            MessageTooLarge: it is larger than ``max_event_size``, or Redis would close its
                subscribers for it.
            TypeError: the name is not valid, or the message is not a dict or cannot be serialized.
        """
        self.require_valid_group_name(group)
        await self._publish(self._names.group(group), self._encode(message))

    def _encode(self, message: Message) -> bytes:
        """Return the payload of a message."""
        payload = self._codec.encode(message)
        if len(payload) > self.max_event_size:
            raise too_large(len(payload), self.max_event_size)
        return payload

    async def _publish(self, name: str, payload: bytes) -> int:
        """Publish to a channel of Redis; return the number of processes that receive it."""
        broker = self._shard(name).broker
        try:
            if running_loop() is None:
                return broker.publish([name], payload, 0)
            return await broker.apublish([name], payload, 0)
        except ValueError:
            raise too_large(len(payload)) from None

    async def _push(self, channel: str, payload: bytes) -> None:
        queues, key = self._shard(channel).queues, self._names.queue(channel)
        capacity = self.get_capacity(channel)
        if running_loop() is None:
            pushed = queues.push(key, payload, capacity, self.expiry)
        else:
            pushed = await queues.apush(key, payload, capacity, self.expiry)
        if not pushed:
            raise channel_full(channel, capacity)

    # Receiving

    @sync_or_async
    async def new_channel(self, prefix: str = "specific") -> str:
        """Return the name of a new channel, which this process receives.

        Raises:
            BrokerUnavailable: Redis does not answer or refuses.
        """
        self._sweep()
        name = self._new_name(prefix)
        await self._opened(name)
        return name

    def _new_name(self, prefix: str) -> str:
        name = self._names.new_channel(prefix)
        self.require_valid_channel_name(name)
        return name

    @sync_or_async
    async def receive(self, channel: str) -> Message:
        """Wait for the next message of a channel; one of several readers gets it.

        Raises:
            BrokerUnavailable: Redis does not answer or refuses.
            MessagesLost: messages may have been lost since the last call. The next call waits for
                the next message.
            TypeError: the name is not valid.
        """
        self.require_valid_channel_name(channel)
        receive = self._receive_own if self._names.is_own(channel) else self._receive_general
        while True:
            payload = await receive(channel)
            try:
                return self._codec.decode(payload)
            except ValueError as exc:
                self.drop(channel, str(exc))

    async def _receive_own(self, channel: str) -> bytes:
        own = await self._opened(channel)
        with self.lock:
            own.keep()
            waiter = own.inbox.ask()
        seconds = self.expiry  # if the reader is cancelled or fails, it may not come back
        try:
            payload = await own.inbox.wait(waiter)
            seconds = self.group_expiry
            return payload
        finally:
            if not own.inbox.waiting:
                own.keep(seconds)

    async def _receive_general(self, channel: str) -> bytes:
        shard = self._shard(channel)
        process = shard.process()
        with self.lock:
            reader = self._readers.get(channel)
            if reader is None or reader.process is not process:
                key = self._names.queue(channel)
                reader = QueueReader(process, shard.queues, key, self.lock)
                self._readers[channel] = reader
            waiter = reader.inbox.ask()
        process.loop.soon(reader.start)
        try:
            return (await reader.inbox.wait(waiter)).payload
        finally:
            process.loop.soon(reader.start)  # returns the message of a cancelled reader
            with self.lock:
                if not reader.inbox.readers and self._readers.get(channel) is reader:
                    del self._readers[channel]

    async def _opened(self, channel: str) -> OwnChannel:
        """Return an own channel that this process receives; begin to receive it if necessary."""
        owner = channel_owner.get()
        with self.lock:
            own = self._channels.get(channel)
            is_new = own is None
            if own is None:
                own = OwnChannel(self, channel, self.get_capacity(channel), owner)
                own.keep(self.group_expiry)
                self._channels[channel] = own
        if is_new and owner is not None:
            owner.add(partial(self.end, own))
        await self._subscribe(own)
        return own

    async def _subscribe(self, own: OwnChannel) -> None:
        """Subscribe an own channel to its messages, if it is not yet."""
        if not own.subscribed:
            try:
                await self._run(own.join, own.name)
            except BaseException:
                self.end(own)
                raise

    async def _run(self, function: Callable[[Process, str], None], name: str) -> None:
        """Call a method of an own channel with a channel of Redis, on the loop of its hub."""
        process = self._shard(name).process()
        await run_on(process.loop, function, process, name)

    # Groups

    @sync_or_async
    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group.

        A channel of another process is added by that process, soon after.

        Raises:
            BrokerUnavailable: Redis does not answer or refuses.
            RuntimeError: the channel is a general one, or received by a process without wsredis.
            TypeError: a name is not valid.
            ValueError: it is a member of too many groups.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        own = self._channels.get(channel)
        if own is None and self._names.tag_of(channel) == self._names.tag:
            own = await self._opened(channel)
        if own is not None and own.member is not None:
            await self.join(group, own.member)
        elif own is not None:
            await self._run(own.join, self._names.group(group))
        elif self._names.tag_of(channel) is None:
            raise RuntimeError(NOT_OURS.format(channel=channel))
        else:
            await self._ask("group_add", group, channel)

    @sync_or_async
    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group, if it is a member.

        A channel of another process is removed by that process, soon after.

        Raises:
            BrokerUnavailable: Redis does not answer.
            TypeError: a name is not valid.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        own = self._channels.get(channel)
        if own is not None and own.member is not None:
            self.leave(group, own.member)
        elif own is not None:
            name = self._names.group(group)
            for process in own.processes():  # a process that was closed is not made again
                await run_on(process.loop, own.leave, process, name)
        elif self._names.tag_of(channel) not in (None, self._names.tag):
            await self._ask("group_discard", group, channel)

    async def _ask(self, action: str, group: str, channel: str) -> None:
        """Ask the process that receives a channel to change its groups."""
        await self._publish(channel, self._control.encode(action, group))

    def take_control(self, own: OwnChannel, payload: bytes) -> None:
        """Do what a control message for a channel of this process asks for; see `Home`."""
        self._control.take(own, payload)

    def _loop_of(self, group: str) -> Loop:
        self.require_valid_group_name(group)
        return self._shard(self._names.group(group)).process().loop

    # Members

    @sync_or_async
    async def join(self, group: str, member: Member) -> None:
        """Add a consumer of this process to a group.

        Raises:
            BrokerUnavailable: Redis does not answer or refuses.
            TypeError: the name is not valid.
        """
        self.check_room(group, member)
        name = self._names.group(group)
        feed = self._feed(name)
        while not feed.add(member):
            feed = self._feed(name)
        if not feed.ready:
            try:
                await run_on(feed.process.loop, feed.open)
            except BaseException:
                self._leave(name, member)
                raise
        member.groups.add(group)
        if member.ended:  # meanwhile, so it has not left this group
            self.leave(group, member)

    def leave(self, group: str, member: Member) -> None:
        """Remove a consumer of this process from a group, if it is a member."""
        member.groups.discard(group)
        self._leave(self._names.group(group), member)

    @sync_or_async
    async def open(self, member: Member) -> str:
        """Return the name of a new channel whose messages a consumer of this process gets.

        Raises:
            BrokerUnavailable: Redis does not answer or refuses.
        """
        name = self._new_name("specific")
        own = OwnChannel(self, name, self.get_capacity(name), ChannelOwner(member.on_gap), member)
        with self.lock:
            self._channels[name] = own
        await self._subscribe(own)
        return name

    def end_channel(self, name: str) -> None:
        """End a channel of a consumer, which has ended."""
        if (own := self._channels.get(name)) is not None:
            self.end(own)

    def deliver(self, member: Member, payload: bytes) -> None:
        """Give a message to a consumer; see `Home`."""
        try:
            event = self._codec.decode(payload)
        except ValueError as exc:
            self.drop("a consumer", str(exc))
        else:
            member.kind.deliver((member,), copier(event))

    def _feed(self, name: str) -> GroupFeed:
        """Return the feed of a group in this process; make it if necessary."""
        feed = self._feeds.get(name)
        if feed is None or feed.closed:
            process = self._shard(name).process()
            made = GroupFeed(
                process, name, self._codec.decode, self.drop, self.get_capacity(name), self.lock
            )
            with self.lock:
                feed = self._feeds.get(name)
                if feed is None or feed.closed:
                    feed = self._feeds[name] = made
        return feed

    def _leave(self, name: str, member: Member) -> None:
        feed = self._feeds.get(name)
        if feed is not None and feed.discard(member):
            with self.lock:
                if self._feeds.get(name) is feed:
                    del self._feeds[name]
            feed.process.loop.soon(feed.close)

    # The end

    @sync_or_async
    async def flush(self) -> None:
        """End the channels of this process, and delete the messages of all general channels.

        Raises:
            BrokerUnavailable: Redis does not answer; some messages may not have been deleted.
        """
        await self.close()
        for shard in self._shards:
            if running_loop() is None:
                shard.queues.clear(self._names.queue(""))
            else:
                await shard.queues.aclear(self._names.queue(""))

    @sync_or_async
    async def close(self) -> None:
        """End the channels of this process; the connections to Redis are those of wsredis."""
        for own in list(self._channels.values()):
            self.end(own)

    def end(self, own: OwnChannel) -> None:
        """End a channel of this process; see `Home`."""
        with self.lock:
            if self._channels.get(own.name) is own:
                del self._channels[own.name]
        own.end()

    def _sweep(self) -> None:
        """End the channels that were not received for long, unless that was done just now."""
        now = _clock()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            for own in [own for own in list(self._channels.values()) if own.is_unused]:
                self.end(own)

    def _shard(self, name: str) -> Shard:
        """Return the server for a name, as channels_redis chooses it."""
        ring = len(self._shards)
        return self._shards[int((binascii.crc32(name.encode()) & 0xFFF) * ring / 4096)]
