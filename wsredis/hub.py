"""Who listens to what in this process, and the fan-out to them.

A hub belongs to one process and one gevent loop, and everything here runs on that loop unless it
says otherwise. It encodes a message once and writes the frame to each socket of its channel; no
greenlet wakes for a connection. It knows brokers only by the seam of `wsredis.brokers.base`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent

from .brokers.base import Broker
from .config import Config
from .connection import Connection, State
from .exceptions import BrokerUnavailable, HandshakeError
from .frames import PING, CloseCode, Receiver, encode_message
from .loop import Loop
from .message import Message, decode

__all__ = ["Hub", "HubStats"]

log = logging.getLogger("wsredis.hub")

TURN = 256
"""Sockets written before other work of the loop has its turn."""

JOIN_AT_MOST = 1 << 16
"""Bytes of several messages written as one piece; a single message may be larger."""

BUCKETS = 31
"""Parts of all sockets that are pinged one after the other, so that no moment has them all."""

SPARE_RECEIVERS = 64
"""Idle receivers kept for the next client that sends something."""


class HubStats:
    """Count what a hub has done since it was made.

    Attributes:
        accepted: websockets that were opened.
        delivered: messages written to a socket or into its outbox.
        dropped: sockets that were closed because their outbox was full.
        timeouts: sockets that answered neither a ping nor a close frame in time.
    """

    __slots__ = ("accepted", "delivered", "dropped", "timeouts")

    def __init__(self) -> None:
        self.accepted = self.delivered = self.dropped = self.timeouts = 0


class _Frames(dict[int, bytes]):
    """Encode messages when the first socket wants them so, and only once: window bits -> bytes."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages

    def __missing__(self, bits: int) -> bytes:
        frames = [encode_message(m.payload, m.binary, bits) for m in self._messages]
        joined = self[bits] = frames[0] if len(frames) == 1 else b"".join(frames)
        return joined


def _parts(messages: list[Message]) -> Iterator[list[Message]]:
    """Split what goes to one channel into pieces that are small enough to be joined."""
    start = size = 0
    for index, message in enumerate(messages):
        size += len(message.payload)
        if size > JOIN_AT_MOST and index > start:
            yield messages[start:index]
            start, size = index, len(message.payload)
    yield messages[start:]


class _Channel:
    """Hold the sockets that listen to one channel."""

    __slots__ = ("count", "echoes", "joining", "members", "recent", "snapshot")

    def __init__(self) -> None:
        self.count = 0  # messages so far
        self.members: dict[Connection, int] = {}  # and what count was when they came
        self.snapshot: tuple[Connection, ...] | None = None
        self.echoes: deque[tuple[Message, Connection, int]] = deque()
        self.joining: dict[Connection, list[Message]] = {}  # and what has come since they came

    def listeners(self) -> tuple[Connection, ...]:
        if self.snapshot is None:
            self.snapshot = tuple(self.members)
        return self.snapshot

    def without_own(
        self, messages: Sequence[Message], gaps: int
    ) -> dict[Connection, list[Message]]:
        """Return, for the senders among the listeners, the messages less their own.

        What this process publishes comes back in the same order, so only the oldest that is
        still out can be what has just arrived. A gap may have swallowed those from before it.
        """
        rest: dict[Connection, list[Message]] = {}
        for index, message in enumerate(messages):
            while self.echoes and self.echoes[0][2] != gaps:
                self.echoes.popleft()
            own = bool(self.echoes) and self.echoes[0][0] == message
            sender = self.echoes.popleft()[1] if own else None
            for connection, kept in rest.items():
                if connection is not sender:
                    kept.append(message)
            if sender is not None and sender not in rest:
                rest[sender] = list(messages[:index])
        return rest


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
        self._limit = config.connection_limit()
        self._count = 0
        self._ping_at = 0
        self._buckets: list[set[Connection]] = [set() for _ in range(BUCKETS)]
        self._channels: dict[str, _Channel] = {}
        self._closing: dict[Connection, float] = {}
        self._receivers: dict[bool, list[Receiver]] = {False: [], True: []}
        self.io: Callable[[int, int], Any] = loop.gevent.io
        self._feed = broker.open(loop, self.deliver)
        self._timers = [
            self._every(config.ping_interval / BUCKETS, self._ping),
            self._every(min(0.25, config.close_timeout / 4), self._sweep),
        ]
        self._pong_ticks = max(1, round(config.pong_timeout / config.ping_interval * BUCKETS))
        if config.heartbeat is not None:
            self._heartbeat = _Frames([Message("", config.heartbeat.encode())])
            self._heartbeat_at = 0
            self._timers.append(self._every(config.heartbeat_interval / BUCKETS, self._beat))

    def _every(self, seconds: float, callback: Callable[[], None]) -> Any:
        timer = self._loop.gevent.timer(seconds, seconds, ref=False)
        timer.start(callback)
        return timer

    # Coming and going

    def join(self, connection: Connection, channels: Sequence[str]) -> None:
        """Make a connection listen to channels, and give it their kept messages first.

        Blocks the calling greenlet until the broker has confirmed. What arrives before the
        connection is open waits in its outbox.

        Raises:
            HandshakeError: 503 when the process is full or about to restart, or the broker away.
        """
        if self.draining or self._count >= self._limit:
            raise HandshakeError(503, "No room for another websocket.", [("Retry-After", "2")])
        self._count += 1
        connection.bucket = self._choose_bucket(connection)
        self._buckets[connection.bucket].add(connection)
        connection.channels = tuple(channels)
        joined = [self._channels.setdefault(name, _Channel()) for name in channels]
        for channel in joined:
            channel.members[connection] = channel.count
            channel.snapshot = None
            channel.joining[connection] = []
        try:
            kept = self._feed.subscribe(channels)
        except BrokerUnavailable as exc:
            log.warning("a websocket was refused because the broker is away: %s", exc)
            connection.cut()
            raise HandshakeError(
                503, "The message broker is away; try again.", [("Retry-After", "2")]
            ) from exc
        except BaseException:
            connection.cut()
            raise
        finally:
            news = {m for channel in joined for m in channel.joining.pop(connection, ())}
        wanted = kept if connection.endpoint.wants_kept else []
        first = [message for message in wanted if message not in news]
        connection.sent += len(first)
        bits = connection.window_bits
        connection.put_first(encode_message(m.payload, m.binary, bits) for m in first)

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
            self._count -= 1

    def _leave(self, connection: Connection) -> None:
        empty = []
        for name in connection.channels:
            channel = self._channels.get(name)
            if channel is not None and connection in channel.members:
                connection.sent += channel.count - channel.members.pop(connection)
                channel.snapshot = None
                if not channel.members:
                    del self._channels[name]
                    empty.append(name)
        if empty:
            self._feed.unsubscribe(empty)

    # Out

    def deliver(self, messages: list[Message]) -> None:
        """Write what one turn of the loop has brought: one write for each socket and channel.

        Runs in the feed's greenlet and gives way every `TURN` sockets; the feed brings nothing
        else before it returns, so order holds.
        """
        batches: dict[str, list[Message]] = {}
        for message in messages:
            batches.setdefault(message.channel, []).append(message)
        for name, batch in batches.items():
            for part in _parts(batch):
                if (channel := self._channels.get(name)) is not None:
                    self._fan_out(channel, part)

    def _fan_out(self, channel: _Channel, batch: list[Message]) -> None:
        channel.count += len(batch)
        for recent in channel.joining.values():
            recent += batch
        rest = channel.without_own(batch, self._feed.stats.gaps) if channel.echoes else {}
        frames = _Frames(batch)
        listeners = channel.listeners()
        for start in range(0, len(listeners), TURN):
            if start:
                gevent.sleep(1e-6)  # a timer: sleep(0) is a callback, and 50 run before any socket
            for connection in listeners[start : start + TURN]:
                if rest and connection in rest:
                    self._write_rest(connection, rest[connection], len(batch))
                else:
                    connection.write(frames[connection.window_bits])
        self.stats.delivered += len(batch) * len(listeners)

    def _write_rest(self, connection: Connection, messages: list[Message], of: int) -> None:
        """Write to a sender what others have sent."""
        connection.sent -= of - len(messages)
        self.stats.delivered -= of - len(messages)
        if messages:
            connection.write(_Frames(messages)[connection.window_bits])

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
                message = decode(name, payload, self.config.envelope)
                for index, echo in enumerate(channel.echoes):  # nearly always the first
                    if echo[:2] == (message, sender):
                        del channel.echoes[index]
                        break
        sender.close(CloseCode.TRY_AGAIN_LATER, "a message may not have been published")

    def lend_receiver(self, deflate: bool) -> Receiver:
        """Return a receiver without content, for a client that has sent something."""
        spare = self._receivers[deflate]
        if spare:
            return spare.pop()
        config = self.config
        return Receiver(deflate, config.max_message_size, config.max_fragments, config.binary)

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
        self._feed.close()

    # Numbers

    def connections(self) -> Iterator[Connection]:
        """Go through all connections."""
        for bucket in self._buckets:
            yield from bucket

    def listeners(self, channel: str) -> int:
        """Return how many sockets of this process listen to a channel."""
        return len(self._channels[channel].members) if channel in self._channels else 0

    NUMBERS = (
        *("connections", "channels", "outbox_bytes", "broker_connected", "draining"),
        *(*HubStats.__slots__, "gaps", "reconnects", "unpublished"),
    )
    """What `numbers` tells."""

    def numbers(self) -> dict[str, int]:
        """Return the counters that `WebSocketMiddleware.stats` shows."""
        feed = self._feed.stats
        return {
            "connections": self._count,
            "channels": len(self._channels),
            "outbox_bytes": sum(connection.outbox_size for connection in self.connections()),
            "broker_connected": int(feed.connected),
            "draining": int(self.draining),
            **{name: getattr(self.stats, name) for name in HubStats.__slots__},
            "gaps": feed.gaps,
            "reconnects": feed.reconnects,
            "unpublished": feed.unpublished,
        }
