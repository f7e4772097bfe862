"""Who listens to what in this process, and the fan-out to them.

A hub belongs to one process and one gevent loop, and everything here runs on that loop unless it
says otherwise. It encodes a message once and writes the frame to each socket of its channel; no
greenlet wakes for a connection. It knows brokers only by the seam of `wsredis.brokers.base`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from operator import attrgetter
from typing import Any

import gevent

from .admission import Admission
from .brokers.base import Broker
from .config import Config
from .connection import Connection, State
from .dispatch import Dispatch
from .exceptions import BrokerUnavailable, HandshakeError
from .frames import PING, CloseCode, Receiver
from .gaps import Gaps
from .listeners import Frames, Listeners
from .logs import get_logger
from .loop import Loop
from .message import Message, decode
from .revocation import control_channel
from .validity import Validity

__all__ = ["Hub", "HubStats"]

log = get_logger("wsredis.hub")

RETRY = [("Retry-After", "2")]

CHANNEL = attrgetter("channel")

BUCKETS = 31
"""Parts of all sockets that are pinged one after the other, so that no moment has them all."""

SPARE_RECEIVERS = 64
"""Idle receivers kept for the next client that sends something."""


@dataclass(slots=True)
class HubStats:
    """Count what a hub has done since it was made.

    Attributes:
        accepted: websockets that were opened.
        delivered: messages written to a socket or into its outbox.
        dropped: sockets that were closed because their outbox was full.
        shed: messages that gave way in an outbox that was full.
        flooding: sockets that were closed because they sent too much in a second.
        revoked: sockets that were closed because their identity expired or was revoked.
        timeouts: sockets that answered neither a ping nor a close frame in time.
    """

    accepted: int = 0
    delivered: int = 0
    dropped: int = 0
    shed: int = 0
    flooding: int = 0
    revoked: int = 0
    timeouts: int = 0


class Hub:
    """Connect the sockets of one process with the broker.

    Make it on the loop it belongs to.

    Args:
        config: the options of the middleware.
        broker: where messages come from and go to.
        loop: the loop all of this runs on.
    """

    def __init__(self, config: Config, broker: Broker, loop: Loop) -> None:
        self.config = config
        self.stats = HubStats()
        self.draining = False
        self.farewell: Any = None
        """What the server keeps alive for the end of the process."""
        self._loop = loop
        self.soon = loop.soon
        self._admission = Admission(config)
        self._validity = Validity(self.connections, config.handshake_timeout)
        self._control = control_channel(config.key_prefix)
        self._obeys = False  # whether it is subscribed to the control channel
        self._ping_at = 0
        self._buckets: list[set[Connection]] = [set() for _ in range(BUCKETS)]
        self._channels: dict[str, Listeners] = {}
        self._closing: dict[Connection, float] = {}
        self._receivers: dict[bool, list[Receiver]] = {False: [], True: []}
        self.io: Callable[[int, int], Any] = loop.gevent.io
        self._gaps = Gaps(config, self.connections, self.deliver, self._catch_up)
        self._feed = broker.open(loop, self._gaps.deliver)
        self._gaps.stats = self._feed.stats
        sheds = config.overflow != "close"
        self._dispatch = Dispatch(loop, self.stats, sheds, self._gaps.fail)
        self._timers = [
            self._every(config.ping_interval / BUCKETS, self._ping),
            self._every(min(0.25, config.close_timeout / 4), self._sweep),
            self._every(0.5, self._revoke),
        ]
        self._pong_ticks = max(1, round(config.pong_timeout / config.ping_interval * BUCKETS))
        self.beats = (beat, beat.encode()) if (beat := config.heartbeat) else ()  # swallowed
        if config.heartbeat is not None:
            self._heartbeat = Frames([Message("", config.heartbeat.encode())])
            self._heartbeat_at = 0
            self._timers.append(self._every(config.heartbeat_interval / BUCKETS, self._beat))

    def _every(self, seconds: float, callback: Callable[[], None]) -> Any:
        timer = self._loop.gevent.timer(seconds, seconds, ref=False)
        timer.start(callback)
        return timer

    # Coming and going

    def join(self, connection: Connection, channels: Sequence[str], address: str = "") -> None:
        """Make a connection listen to channels, and give it their kept messages first.

        Blocks the calling greenlet until the broker has confirmed. What arrives before the
        connection is open waits in its outbox.

        Args:
            connection: a new one.
            channels: what it listens to.
            address: the client's, or "" where that does not count.

        Raises:
            HandshakeError: 503 when the process is full or about to restart, or the broker away;
                429 when the user or the address has enough.
        """
        if self.draining:
            raise HandshakeError(503, "The server is about to restart.", RETRY)
        connection.channels = tuple(dict.fromkeys(channels))  # raises before anything is counted
        self._admission.admit(connection, address)
        connection.bucket = self._choose_bucket(connection)
        self._buckets[connection.bucket].add(connection)
        joined = []
        for name in connection.channels:
            if (channel := self._channels.get(name)) is None:
                channel = self._channels[name] = Listeners()
            connection.sent -= channel.add(connection)
            joined.append(channel)
        try:
            kept = self._subscribe(connection.channels)
            news = {message for channel in joined for message in channel.joined(connection)}
            self.stats.revoked += self._validity.watch(connection)
            if kept and connection.endpoint.wants_kept:
                first = [Frames([message]) for message in kept if message not in news]
                connection.put_first(first)
        except BrokerUnavailable as exc:
            log.warning("a websocket was refused because the broker is away: %s", exc)
            connection.cut()
            raise HandshakeError(503, "The message broker is away; try again.", RETRY) from exc
        except BaseException:
            connection.cut()
            raise

    def _subscribe(self, channels: Sequence[str]) -> list[Message]:
        """Listen to channels, and before the first of them to orders."""
        if self._obeys:
            return self._feed.subscribe(channels)
        kept = self._feed.subscribe((self._control, *channels))
        for order in self._feed.appended(self._control):
            # Nobody is here yet who was before it: who logs in anew must not be sent away.
            self.stats.revoked += self._validity.catch_up(order, skew=0.0)
        self._obeys = True
        return kept

    def closing(self, connection: Connection) -> None:
        """Take a connection out of its channels and give it until the deadline to end."""
        self._leave(connection)
        self._closing[connection] = time.monotonic() + self.config.close_timeout

    def forget(self, connection: Connection) -> None:
        """Drop everything that is known of a connection."""
        self._leave(connection)
        self._closing.pop(connection, None)
        bucket = self._buckets[connection.bucket]
        if connection in bucket:
            bucket.remove(connection)
            self._admission.release(connection)
            self._validity.forget(connection)

    def _leave(self, connection: Connection) -> None:
        empty = []
        for name in connection.channels:
            channel = self._channels.get(name)
            if channel is not None and connection in channel.members:
                connection.sent += channel.remove(connection)
                if not channel.members:
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
                    while dispatch.make_way():
                        yield
                elif name == self._control:
                    for order in run:
                        self.stats.revoked += self._validity.obey(order)
                        yield
        finally:
            dispatch.go()

    # In

    def publish(
        self, sender: Connection, channels: Sequence[str], payload: bytes, echo: bool, expire: int
    ) -> None:
        """Publish what a socket has sent; every process, this one too, gets it from the broker."""
        if not echo:
            gaps, envelope = self._feed.stats.gaps, self.config.envelope
            for name in channels:
                channel = self._channels.get(name)
                if channel is not None and sender in channel.members:
                    channel.echoes.append((decode(name, payload, envelope), sender, gaps))
        sender.publishing(len(payload))

        def answered(published: bool) -> None:
            sender.published(len(payload))
            if not published:
                self._lost(sender, channels, payload)

        self._feed.publish(channels, payload, expire, answered)

    def _lost(self, sender: Connection, channels: Sequence[str], payload: bytes) -> None:
        for name in channels:
            if (channel := self._channels.get(name)) is not None:
                channel.lost(decode(name, payload, self.config.envelope), sender)
        sender.close(CloseCode.TRY_AGAIN_LATER, "a message may not have been published")

    def lend_receiver(self, deflate: bool) -> Receiver:
        """Return a receiver without content, for a client that has sent something."""
        spare = self._receivers[deflate]
        if spare:
            return spare.pop()
        c = self.config
        most = c.max_bytes_per_second
        return Receiver(deflate, c.max_message_size, c.max_fragments, c.binary, most)

    def take_back(self, receiver: Receiver) -> None:
        """Take a receiver that is not busy for the next client."""
        spare = self._receivers[receiver.deflate]
        if len(spare) < SPARE_RECEIVERS:
            spare.append(receiver)

    # Time

    def _choose_bucket(self, connection: Connection) -> int:
        """Spread newcomers over the half that has its turn last: nobody is pinged at once."""
        return (self._ping_at - 1 - (hash(connection) >> 5) % (BUCKETS // 2)) % BUCKETS

    def _ping(self) -> None:
        """Cut those of one bucket that did not answer the last ping, and ping another one."""
        for connection in tuple(self._buckets[(self._ping_at - self._pong_ticks) % BUCKETS]):
            silent = not (connection.alive or connection.paused)
            if silent and connection.state is State.OPEN:
                self.stats.timeouts += 1
                connection.cut()
        for connection in tuple(self._buckets[self._ping_at]):
            if connection.state is State.OPEN:
                connection.alive = False
                connection.write(PING)
        self._ping_at = (self._ping_at + 1) % BUCKETS

    def _beat(self) -> None:
        for connection in tuple(self._buckets[self._heartbeat_at]):
            if connection.state is State.OPEN:
                connection.write(self._heartbeat[connection.window_bits])
        self._heartbeat_at = (self._heartbeat_at + 1) % BUCKETS

    def _sweep(self) -> None:
        """Cut those who have not answered our close frame in time."""
        now = time.monotonic()
        while self._closing:
            connection, deadline = next(iter(self._closing.items()))
            if deadline > now:
                return
            self.stats.timeouts += 1
            connection.cut()

    def _revoke(self) -> None:
        """Close whose time is over, and see to what messages were lost with."""
        self.stats.revoked += self._validity.expire()
        self._gaps.look()

    def _catch_up(self) -> None:
        """Carry out the orders that were missed, and close who would hear nothing any more.

        Raises:
            BrokerUnavailable: it is away again.
        """
        for order in self._feed.appended(self._control):
            self.stats.revoked += self._validity.catch_up(order)
            gevent.sleep(1e-6)
        deaf = [self._channels[name] for name in self._feed.refused() if name in self._channels]
        for connection in {member for channel in deaf for member in channel.members}:
            connection.close(CloseCode.TRY_AGAIN_LATER, "the broker refuses a channel")
            gevent.sleep(1e-6)

    # The end

    def drain(self) -> None:
        """Refuse newcomers and send everybody a close frame with 1012 (service restart)."""
        self.draining = True
        for connection in tuple(self.connections()):
            connection.close(CloseCode.SERVICE_RESTART, "service restart")

    def close(self) -> None:
        """End every socket and the feed at once."""
        self.draining = True
        for connection in tuple(self.connections()):
            connection.cut()
        for timer in self._timers:
            timer.stop()
            timer.close()
        self._timers = []
        self._dispatch.close()
        self._feed.close()

    # Numbers

    def connections(self) -> Iterator[Connection]:
        """Go through all connections."""
        for bucket in self._buckets:
            yield from bucket

    NUMBERS = (
        *("connections", "channels", "outbox_bytes", "broker_connected", "draining"),
        *(field.name for field in fields(HubStats)),
        *("gaps", "reconnects", "unpublished"),
    )
    """What `numbers` tells."""

    def numbers(self) -> dict[str, int]:
        """Return the counters that `WebSocketMiddleware.stats` shows."""
        feed = self._feed.stats
        return {
            "connections": self._admission.count,
            "channels": len(self._channels),
            "outbox_bytes": sum(connection.outbox_size for connection in self.connections()),
            "broker_connected": int(feed.connected),
            "draining": int(self.draining),
            **asdict(self.stats),
            "gaps": feed.gaps,
            "reconnects": feed.reconnects,
            "unpublished": feed.unpublished,
        }
