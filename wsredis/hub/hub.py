"""The hub: the subscribers and channels of this process, and the fan-out of messages.

A hub belongs to one process and one gevent loop, and all methods run on that loop unless stated
otherwise. It encodes a message once for each kind of client and writes it to each socket of its
channel; no greenlet is woken for a subscriber. It depends on the interfaces of
`wsredis.brokers.base` and `wsredis.hub.subscriber` only.

Invariants:

* The hub owns the slots of a subscriber from `admit` on; they are given back once, by `forget` or
  by a refusal.
* A channel is in ``_channels``, and subscribed to at the broker, exactly while a client is
  subscribed to it or joining.
* The control channel is subscribed to before any other channel, so that no revocation is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

import gevent
from gevent.event import Event

from ..brokers.base import Broker
from ..config import Config
from ..exceptions import BrokerUnavailable, HandshakeError
from ..identity.revocation import control_channel
from ..message import Message, decode
from ..protocol.closing import CHANNEL_REFUSED, NOT_PUBLISHED, RESTART
from ..protocol.http import RETRY_SOON
from ..runtime.loop import NEXT_TURN, Loop
from .channel import Channel
from .dispatch import Dispatch
from .encoding import Encoded
from .expiry import Expiry
from .gaps import Gaps
from .keepalive import BUCKETS, Keepalive
from .limits import Limits
from .memory import BufferMemory
from .stats import HubStats
from .steps import Repeated, in_steps
from .subscriber import Client, Sender, Subscriber

__all__ = ["Hub"]

CHANNEL = attrgetter("channel")


class Hub:
    """The subscribers of one process and their channels.

    It must be made on its loop.

    Args:
        config: the options of the middleware.
        broker: carries the messages.
        loop: the loop of the hub.
        room: maximum descriptors of all websockets; None for what the options say.

    Attributes:
        memory: the memory of send buffers and unfinished messages.
        limits: the slots of the process, its users and addresses; usable from any thread.
        calling: the endpoint's method that is called; see `wsredis.runtime.watchdog`.
        exit_hooks: objects that must stay referenced until the process ends.
        on_drained: functions, which may block the greenlet, to be called after the end of all
            websockets and before the process ends.
    """

    def __init__(self, config: Config, broker: Broker, loop: Loop, room: int | None = None) -> None:
        self.config = config
        self.stats = HubStats()
        self.limits = Limits(config, room)
        self.draining = False
        self.calling: tuple[Callable[..., Any]] | None = None
        self.exit_hooks: Any = None
        self.on_drained: list[Callable[[], None]] = []
        self.soon = loop.soon
        self.io: Callable[[int, int], Any] = loop.gevent.io
        self.timer: Callable[[float], Any] = loop.gevent.timer
        self._loop = loop
        self._everybody = Keepalive(config, self.stats)
        self._receivers: set[Subscriber] = set()  # those that are not clients
        self.memory = BufferMemory(config, self.stats, self.subscribers)
        self._expiry = Expiry(self.subscribers, config.handshake_timeout)
        self._control = control_channel(config.key_prefix)
        self._controlled = False  # whether the control channel is subscribed to and its log read
        self._reading: Event | None = None  # set when the log was read, or could not be read
        self._channels: dict[str, Channel] = {}
        self._feed = broker.open(loop, self.deliver)
        self._gaps = Gaps(config, self._feed, self._all_subscribers, self._catch_up)
        drops = config.overflow != "close"
        self._dispatch = Dispatch(loop, self.stats, drops, self._gaps.fail)
        self._timers = [
            Repeated(loop, config.ping_interval / BUCKETS, self._everybody.ping),
            Repeated(loop, min(0.25, config.close_timeout / 4), self._everybody.sweep),
            Repeated(loop, min(1.0, config.message_timeout / 4), self.memory.sweep),
            Repeated(loop, 0.5, self._expire),
        ]
        self.heartbeats: Sequence[str | bytes] = ()  # ignored when a client sends them
        if config.heartbeat is not None:
            self.heartbeats = config.heartbeat, config.heartbeat.encode()
            interval = config.heartbeat_interval / BUCKETS
            self._timers.append(Repeated(loop, interval, self._everybody.send_heartbeat))

    # Joining and leaving

    def admit(self, subscriber: Client) -> None:
        """Add a new subscriber and take over its slots, which are released when it ends.

        Raises:
            HandshakeError: 503 when the process is about to end.
        """
        if self.draining:
            self.limits.release(subscriber.slots)
            raise HandshakeError(503, "The server is about to restart.", RETRY_SOON)
        self._everybody.add(subscriber)
        self.stats.revoked += self._expiry.watch(subscriber)

    def admit_receiver(self, receiver: Subscriber) -> None:
        """Add a subscriber that is not a client, such as a channel of a channel layer.

        It takes no slot, is not pinged, not drained and not revoked.
        """
        self._receivers.add(receiver)

    def subscribe(
        self, subscriber: Subscriber, channels: Sequence[str], *, retained: bool = True
    ) -> None:
        """Subscribe a client to more channels, and send it their retained messages first.

        Blocks the calling greenlet until the broker has confirmed. Messages that arrive meanwhile
        are sent after the retained messages, in order of arrival.

        Args:
            subscriber: an admitted client, open or not, or an admitted receiver; nothing happens
                if it is closing or has ended.
            channels: full names; channels that it has, or that another call is subscribing it to,
                are ignored. Even without any channel a new subscriber needs an available broker,
                and from then on this process receives revocations.
            retained: whether the client gets retained messages.

        Raises:
            BrokerUnavailable: the broker does not answer or refuses; nothing is subscribed then.
        """
        before = subscriber.channels
        names = tuple(dict.fromkeys(channels))
        if before:
            names = tuple(name for name in names if name not in before)
        here = subscriber in self._receivers or self._everybody.stays(subscriber)
        if not here or (before and not names):
            return
        subscriber.channels = before + names
        recent: list[Encoded] = []
        for name in names:
            if (channel := self._channels.get(name)) is None:
                channel = self._channels[name] = Channel()
            channel.prepare(subscriber, recent)
        try:
            found = self._subscribe(names)
            joined = self._joining(subscriber, names, recent)  # it may have left some meanwhile
            if found and retained:
                news = {one.messages[0] for one in recent}
                first = [m for m in found if m not in news and m.channel in joined]
                subscriber.send_retained([Encoded((message,)) for message in first])
        except BaseException:
            self.unsubscribe(subscriber, self._joining(subscriber, names, recent))
            self._feed.unsubscribe([name for name in names if name not in self._channels])
            raise
        if len(joined) < len(names):  # the feed may have subscribed after the earlier unsubscribe
            self._feed.unsubscribe([name for name in names if name not in self._channels])
        for channel in joined.values():
            channel.add(subscriber)
        if recent:
            recent = [one for one in recent if one.messages[0].channel in joined]
            self._dispatch.send_recent(subscriber, recent)

    def _joining(
        self, subscriber: Subscriber, names: Sequence[str], recent: list[Encoded]
    ) -> dict[str, Channel]:
        """Return the channels, out of some, that still collect messages for a client.

        It may have left some of them meanwhile, and even joined again by another `subscribe`.
        """
        joining = {}
        for name in names:
            channel = self._channels.get(name)
            if channel is not None and channel.joining.get(subscriber) is recent:
                joining[name] = channel
        return joining

    def _subscribe(self, channels: Sequence[str]) -> list[Message]:
        """Subscribe to channels; before the first of them, subscribe to revocations."""
        most = self.config.max_send_buffer
        if self._controlled:
            return self._feed.subscribe(channels, most)
        retained = self._feed.subscribe((self._control, *channels), most)
        self._read_log()
        return retained

    def _read_log(self) -> None:
        """Read the log of revocations once, for all clients that are joining.

        Raises:
            BrokerUnavailable: the log could not be read.
        """
        if (reading := self._reading) is not None:
            reading.wait()
            if not self._controlled:
                raise BrokerUnavailable("the revocations could not be read")
            return
        reading = self._reading = Event()
        try:
            # No subscriber is older than a revocation: a client that has logged in again stays.
            self._apply_log(skew=0.0)
            self._controlled = True
        finally:
            self._reading = None
            reading.set()

    def _apply_log(self, **skew: float) -> None:
        for closed in self._expiry.catch_up(self._feed.logged(self._control), **skew):
            self.stats.revoked += closed
            gevent.sleep(NEXT_TURN)

    def unsubscribe(self, subscriber: Subscriber, channels: Collection[str]) -> None:
        """Unsubscribe a client from channels; channels that it does not have are ignored."""
        subscriber.channels = tuple(name for name in subscriber.channels if name not in channels)
        self._leave(subscriber, channels)

    def begin_handshake(self, subscriber: Client) -> None:
        """Start the deadline for answering a handshake, after which the client is closed."""
        self._everybody.begin_handshake(subscriber)

    def end_handshake(self, subscriber: Client) -> None:
        """Cancel the deadline of a handshake that was answered, or whose client has ended."""
        self._everybody.end_handshake(subscriber)

    def closing(self, subscriber: Client) -> None:
        """Unsubscribe a closing client from all channels, and abort it at the deadline."""
        self._leave(subscriber, subscriber.channels)
        self._everybody.expect_end(subscriber)

    def forget(self, subscriber: Client) -> None:
        """Remove a client that has ended, and release its slots."""
        self._leave(subscriber, subscriber.channels)
        if self._everybody.remove(subscriber):
            self._expiry.forget(subscriber)
            self.limits.release(subscriber.slots)

    def forget_receiver(self, receiver: Subscriber) -> None:
        """Remove a receiver and unsubscribe it from all channels."""
        self._leave(receiver, receiver.channels)
        self._receivers.discard(receiver)

    def _leave(self, subscriber: Subscriber, channels: Iterable[str]) -> None:
        empty = []
        for name in channels:
            channel = self._channels.get(name)
            if channel is not None and channel.remove(subscriber) and channel.is_empty:
                del self._channels[name]
                empty.append(name)
        if empty:
            self._feed.unsubscribe(empty)

    # Out

    def deliver(self, messages: list[Message]) -> Iterator[None]:
        """Write the messages of one iteration of the loop, or queue them; `Dispatch` keeps order.

        Yields so that other work can run; the feed delivers no more messages until it ends.
        """
        gaps = self._feed.stats.gaps
        dispatch = self._dispatch
        try:
            for name, run in groupby(messages, CHANNEL):
                if (channel := self._channels.get(name)) is not None:
                    dispatch.put(channel, list(run), gaps)
                    while dispatch.should_yield():
                        yield
                elif name == self._control:
                    dispatch.flush()  # closing many takes time
                    for revocation in run:
                        for closed in self._expiry.apply(revocation):
                            self.stats.revoked += closed
                            yield
                        yield
        finally:
            dispatch.flush()

    def send(self, subscribers: Iterable[Subscriber], encoded: Encoded) -> None:
        """Write a message to some open clients that are subscribed to no channel.

        Give it many clients in steps, each with the same object: that encodes the message once for
        each kind of client.
        """
        self._dispatch.send(subscribers, encoded)

    # In

    def publish(
        self, sender: Sender, channels: Sequence[str], payload: bytes, echo: bool, expire: int
    ) -> None:
        """Publish a message of a client; all processes, including this one, get it from the broker.

        ``sender.on_ack`` is called once, when the message is published or lost. If it is lost, the
        sender is closed with 1013, so that the client notices the loss.
        """
        if not echo:
            gaps, envelope = self._feed.stats.gaps, self.config.envelope
            connected = self._feed.stats.connected
            for name in channels:
                channel = self._channels.get(name)
                # Without a link, a joining client's message is published before it is subscribed.
                joining = connected and channel is not None and sender in channel.joining
                if channel is not None and (sender in channel.members or joining):
                    channel.echoes.append((decode(name, payload, envelope), sender, gaps))

        def on_ack(published: bool) -> None:
            sender.on_ack(len(payload) * len(channels))
            if not published:
                self._lost(sender, channels, payload)

        self._feed.publish(channels, payload, expire, on_ack)

    def _lost(self, sender: Sender, channels: Sequence[str], payload: bytes) -> None:
        for name in channels:
            if (channel := self._channels.get(name)) is not None:
                channel.lost(decode(name, payload, self.config.envelope), sender)
        sender.close(NOT_PUBLISHED.code, NOT_PUBLISHED.reason)

    # Time

    def _expire(self) -> Iterator[None]:
        """Continue the recovery from a gap, and close subscribers whose identity has expired."""
        self._gaps.check()
        for closed in self._expiry.expire():
            self.stats.revoked += closed
            yield

    def _catch_up(self) -> None:
        """Apply the revocations that were missed, and close subscribers of refused channels.

        Raises:
            BrokerUnavailable: the broker is unavailable again.
        """
        self._apply_log()
        deaf = [self._channels[name] for name in self._feed.refused() if name in self._channels]
        for step in in_steps(member for channel in deaf for member in tuple(channel.members)):
            for subscriber in step:
                subscriber.close(CHANNEL_REFUSED.code, CHANNEL_REFUSED.reason)
            gevent.sleep(NEXT_TURN)

    # The end

    def drain(self) -> None:
        """Refuse new subscribers and close all others with 1012 (service restart).

        Blocks the calling greenlet until all of them have been told, not until they have ended.
        """
        self.draining = True
        for step in in_steps(self.subscribers()):
            for subscriber in step:
                subscriber.close(RESTART.code, RESTART.reason)
            gevent.sleep(NEXT_TURN)

    def close(self) -> None:
        """End every subscriber and the feed at once."""
        self.draining = True
        for subscriber in tuple(self._all_subscribers()):
            subscriber.abort()
        for timer in self._timers:
            timer.close()
        self._timers = []
        self._dispatch.close()
        self._feed.close()

    # Numbers

    def subscribers(self) -> Iterator[Client]:
        """Iterate over all subscribers, including those that are joining; see `Keepalive`."""
        return iter(self._everybody)

    def _all_subscribers(self) -> Iterator[Subscriber]:
        return chain(self._everybody, tuple(self._receivers))

    NUMBERS = (
        *("connections", "channels", "send_buffer_bytes", "buffer_memory"),
        *("broker_connected", "draining"),
        *(field.name for field in fields(HubStats)),
        *("gaps", "reconnects", "unpublished"),
    )
    """The keys of `numbers`."""

    def numbers(self) -> dict[str, int]:
        """Return the counters of `WebSocketMiddleware.stats`."""
        feed = self._feed.stats
        return {
            "connections": len(self._everybody),
            "channels": len(self._channels),
            "send_buffer_bytes": self.memory.waiting,
            "buffer_memory": self.memory.total,
            "broker_connected": int(feed.connected),
            "draining": int(self.draining),
            **asdict(self.stats),
            "gaps": feed.gaps + self._gaps.failures,
            "reconnects": feed.reconnects,
            "unpublished": feed.unpublished,
        }
