"""Who subscribes to what in this process, and the fan-out to them.

A hub belongs to one process and one gevent loop, and everything here runs on that loop unless it
says otherwise. It encodes a message once for each kind of client and writes it to each socket of
its channel; no greenlet wakes for a subscriber. It knows brokers only by the interfaces of
`wsredis.brokers.base`, and subscribers only by `wsredis.hub.subscriber`.

Invariants:

* The slots of a subscriber are the hub's from `admit` on; they are given back once, by `forget` or
  by a refusal.
* A channel is in ``_channels``, and wanted from the broker, exactly while somebody is subscribed
  to it or about to be.
* The control channel is subscribed to before the first other one: no revocation is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from itertools import groupby
from operator import attrgetter
from typing import Any

import gevent

from ..brokers.base import Broker
from ..config import Config
from ..exceptions import HandshakeError
from ..identity.revocation import control_channel
from ..message import Message, decode
from ..protocol.closing import CloseCode
from ..protocol.http import RETRY_SOON
from ..runtime.loop import NEXT_TURN, Loop
from .channel import Channel
from .dispatch import Dispatch
from .encoding import Encoded
from .expiry import Expiry
from .gaps import Gaps
from .keepalive import BUCKETS, Keepalive
from .limits import Limits
from .stats import HubStats
from .subscriber import Sender, Subscriber

__all__ = ["Hub"]

CHANNEL = attrgetter("channel")


class Hub:
    """The subscribers of one process and their channels.

    Make it on the loop it belongs to.

    Args:
        config: the options of the middleware.
        broker: where messages come from and go to.
        loop: the loop all of this runs on.

    Attributes:
        limits: the slots of the process, its users and addresses; usable from any thread.
        exit_hooks: what the server keeps alive for the end of the process.
    """

    def __init__(self, config: Config, broker: Broker, loop: Loop) -> None:
        self.config = config
        self.stats = HubStats()
        self.limits = Limits(config)
        self.draining = False
        self.exit_hooks: Any = None
        self.soon = loop.soon
        self.io: Callable[[int, int], Any] = loop.gevent.io
        self._loop = loop
        self._everybody = Keepalive(config, self.stats)
        self._expiry = Expiry(self.subscribers, config.handshake_timeout)
        self._control = control_channel(config.key_prefix)
        self._controlled = False  # whether it is subscribed to the control channel
        self._channels: dict[str, Channel] = {}
        self._feed = broker.open(loop, self.deliver)
        self._gaps = Gaps(config, self._feed, self.subscribers, self._catch_up)
        drops = config.overflow != "close"
        self._dispatch = Dispatch(loop, self.stats, drops, self._gaps.fail)
        self._timers = [
            self._every(config.ping_interval / BUCKETS, self._everybody.ping),
            self._every(min(0.25, config.close_timeout / 4), self._everybody.sweep),
            self._every(0.5, self._expire),
        ]
        self.heartbeats: Sequence[str | bytes] = ()  # swallowed when a client sends them
        if config.heartbeat is not None:
            self.heartbeats = config.heartbeat, config.heartbeat.encode()
            interval = config.heartbeat_interval / BUCKETS
            self._timers.append(self._every(interval, self._everybody.send_heartbeat))

    def _every(self, seconds: float, callback: Callable[[], None]) -> Any:
        timer = self._loop.gevent.timer(seconds, seconds, ref=False)
        timer.start(callback)
        return timer

    # Coming and going

    def admit(self, subscriber: Subscriber) -> None:
        """Take a newcomer, and with it its slots, which are given back when it ends or is refused.

        Raises:
            HandshakeError: 503 when the process is about to end.
        """
        if self.draining:
            self.limits.release(subscriber.slots)
            raise HandshakeError(503, "The server is about to restart.", RETRY_SOON)
        self._everybody.add(subscriber)
        self.stats.revoked += self._expiry.watch(subscriber)

    def subscribe(
        self, subscriber: Subscriber, channels: Sequence[str], *, retained: bool = True
    ) -> None:
        """Subscribe a client to more channels, and send it their retained messages first.

        Blocks the calling greenlet until the broker has confirmed. What arrives meanwhile is sent
        after the retained messages, in the order in which it came.

        Args:
            subscriber: admitted, be it open or not; where it closes or has ended, nothing happens.
            channels: full names; those that it has already, or that another call is still
                subscribing it to, are left out. With none at all a newcomer still has to find the
                broker available, and this process receives revocations from then on.
            retained: whether it gets retained messages.

        Raises:
            BrokerUnavailable: the broker does not answer or refuses; nothing is subscribed then.
        """
        before = subscriber.channels
        names = tuple(dict.fromkeys(channels))
        if before:
            names = tuple(name for name in names if name not in before)
        if not self._everybody.stays(subscriber) or (before and not names):
            return
        subscriber.channels = before + names
        recent: list[Encoded] = []
        for name in names:
            if (channel := self._channels.get(name)) is None:
                channel = self._channels[name] = Channel()
            channel.prepare(subscriber, recent)
        try:
            found = self._subscribe(names)
            joined = self._joining(subscriber, names, recent)  # the others it has left meanwhile
            if found and retained:
                news = {one.messages[0] for one in recent}
                first = [m for m in found if m not in news and m.channel in joined]
                subscriber.send_retained([Encoded((message,)) for message in first])
        except BaseException:
            self.unsubscribe(subscriber, self._joining(subscriber, names, recent))
            self._feed.unsubscribe([name for name in names if name not in self._channels])
            raise
        if len(joined) < len(names):  # the feed may have begun with them after it was told to stop
            self._feed.unsubscribe([name for name in names if name not in self._channels])
        for channel in joined.values():
            channel.add(subscriber)
        if recent:
            recent = [one for one in recent if one.messages[0].channel in joined]
            self._dispatch.send_recent(subscriber, recent)

    def _joining(
        self, subscriber: Subscriber, names: Sequence[str], recent: list[Encoded]
    ) -> dict[str, Channel]:
        """Return those of some channels that still collect messages for a client.

        It may have left some of them, and even be about to come back, by another `subscribe`.
        """
        joining = {}
        for name in names:
            channel = self._channels.get(name)
            if channel is not None and channel.joining.get(subscriber) is recent:
                joining[name] = channel
        return joining

    def _subscribe(self, channels: Sequence[str]) -> list[Message]:
        """Subscribe to channels, and before the first of them to revocations."""
        if self._controlled:
            return self._feed.subscribe(channels)
        retained = self._feed.subscribe((self._control, *channels))
        for revocation in self._feed.logged(self._control):
            # Nobody is here yet who was before it: a client that logs in anew must stay.
            self.stats.revoked += self._expiry.catch_up(revocation, skew=0.0)
        self._controlled = True
        return retained

    def unsubscribe(self, subscriber: Subscriber, channels: Collection[str]) -> None:
        """Unsubscribe a client from some of its channels; others are ignored."""
        subscriber.channels = tuple(name for name in subscriber.channels if name not in channels)
        self._leave(subscriber, channels)

    def closing(self, subscriber: Subscriber) -> None:
        """Unsubscribe a client that closes from all channels, and end it at the deadline."""
        self._leave(subscriber, subscriber.channels)
        self._everybody.expect_end(subscriber)

    def forget(self, subscriber: Subscriber) -> None:
        """Forget a client that has ended, and give its slots back."""
        self._leave(subscriber, subscriber.channels)
        if self._everybody.remove(subscriber):
            self._expiry.forget(subscriber)
            self.limits.release(subscriber.slots)

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
        """Write what one turn of the loop has brought, or plan to; `Dispatch` keeps the order.

        Yields where others may have their turn; the feed brings nothing else before the end.
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
                    for revocation in run:
                        self.stats.revoked += self._expiry.apply(revocation)
                        yield
        finally:
            dispatch.flush()

    # In

    def publish(
        self, sender: Sender, channels: Sequence[str], payload: bytes, echo: bool, expire: int
    ) -> None:
        """Publish what a client has sent; every process, this one too, gets it from the broker.

        ``sender.on_ack`` is called once, when it is published or lost. In the latter case the
        sender is closed with 1013, so that the loss does not go unseen.
        """
        if not echo:
            gaps, envelope = self._feed.stats.gaps, self.config.envelope
            connected = self._feed.stats.connected
            for name in channels:
                channel = self._channels.get(name)
                # Without a link, what a joining client publishes goes out before it is subscribed.
                joining = connected and channel is not None and sender in channel.joining
                if channel is not None and (sender in channel.members or joining):
                    channel.echoes.append((decode(name, payload, envelope), sender, gaps))

        def on_ack(published: bool) -> None:
            sender.on_ack(len(payload))
            if not published:
                self._lost(sender, channels, payload)

        self._feed.publish(channels, payload, expire, on_ack)

    def _lost(self, sender: Sender, channels: Sequence[str], payload: bytes) -> None:
        for name in channels:
            if (channel := self._channels.get(name)) is not None:
                channel.lost(decode(name, payload, self.config.envelope), sender)
        sender.close(CloseCode.TRY_AGAIN_LATER, "a message may not have been published")

    # Time

    def _expire(self) -> None:
        """Close those whose time is over, and do what is left to do after a gap."""
        self.stats.revoked += self._expiry.expire()
        self._gaps.check()

    def _catch_up(self) -> None:
        """Carry out the revocations that were missed, and close who would hear nothing any more.

        Raises:
            BrokerUnavailable: it is unavailable again.
        """
        for revocation in self._feed.logged(self._control):
            self.stats.revoked += self._expiry.catch_up(revocation)
            gevent.sleep(NEXT_TURN)
        deaf = [self._channels[name] for name in self._feed.refused() if name in self._channels]
        for subscriber in {member for channel in deaf for member in channel.members}:
            subscriber.close(CloseCode.TRY_AGAIN_LATER, "the broker refuses a channel")
            gevent.sleep(NEXT_TURN)

    # The end

    def drain(self) -> None:
        """Refuse newcomers and close everybody with 1012 (service restart)."""
        self.draining = True
        for subscriber in tuple(self.subscribers()):
            subscriber.close(CloseCode.SERVICE_RESTART, "service restart")

    def close(self) -> None:
        """End every socket and the feed at once."""
        self.draining = True
        for subscriber in tuple(self.subscribers()):
            subscriber.abort()
        for timer in self._timers:
            timer.stop()
            timer.close()
        self._timers = []
        self._dispatch.close()
        self._feed.close()

    # Numbers

    def subscribers(self) -> Iterator[Subscriber]:
        """Iterate over all subscribers, those that are joining too."""
        return iter(self._everybody)

    NUMBERS = (
        *("connections", "channels", "send_buffer_bytes", "broker_connected", "draining"),
        *(field.name for field in fields(HubStats)),
        *("gaps", "reconnects", "unpublished"),
    )
    """The keys of `numbers`."""

    def numbers(self) -> dict[str, int]:
        """Return the counters that `WebSocketMiddleware.stats` shows."""
        feed = self._feed.stats
        return {
            "connections": len(self._everybody),
            "channels": len(self._channels),
            "send_buffer_bytes": sum(each.send_buffer_size for each in self.subscribers()),
            "broker_connected": int(feed.connected),
            "draining": int(self.draining),
            **asdict(self.stats),
            "gaps": feed.gaps,
            "reconnects": feed.reconnects,
            "unpublished": feed.unpublished,
        }
