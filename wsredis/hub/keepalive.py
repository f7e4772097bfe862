"""All subscribers of this process, and the timers that detect dead ones.

Subscribers are spread over buckets that are pinged one after the other, so that they are not all
pinged at the same time. Work on many of them is done in steps (see `.steps`), between which
subscribers may join and leave. The transports define the bytes of a ping.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..config import Config
from ..message import Message
from ..protocol.closing import HANDSHAKE_TIMEOUT
from .encoding import Encoded
from .stats import HubStats
from .steps import first_due, in_steps
from .subscriber import Client, Subscriber

__all__ = ["BUCKETS", "Keepalive"]

BUCKETS = 31
"""Number of buckets."""


class Keepalive:
    """The subscribers of a hub: it pings them, sends heartbeats, and ends those that do not answer.

    Args:
        config: the options, for intervals and deadlines.
        stats: the counters, for timeouts.
    """

    def __init__(self, config: Config, stats: HubStats) -> None:
        self._stats = stats
        self._close_timeout = config.close_timeout
        self._handshake_timeout = config.handshake_timeout
        self._pong_ticks = max(1, round(config.pong_timeout / config.ping_interval * BUCKETS))
        self._heartbeat = Encoded([Message("", (config.heartbeat or "").encode())])
        self._ping_at = self._heartbeat_at = 0
        self._buckets: list[set[Client]] = [set() for _ in range(BUCKETS)]
        self._closing: dict[Client, float] = {}
        self._handshakes: dict[Client, float] = {}

    def stays(self, subscriber: Subscriber) -> bool:
        """Return whether a client is connected and not closing."""
        here = subscriber in self._buckets[subscriber.bucket]
        return here and subscriber not in self._closing

    def __iter__(self) -> Iterator[Client]:
        """Iterate over all subscribers, while others may join and leave.

        A subscriber that is here from the beginning to the end is yielded once, any other at most
        once.
        """
        for bucket in self._buckets:
            yield from tuple(bucket)

    def __len__(self) -> int:
        return sum(map(len, self._buckets))

    def add(self, subscriber: Client) -> None:
        """Add a subscriber to a bucket of the half that is pinged last, so not immediately."""
        subscriber.bucket = (self._ping_at - 1 - (hash(subscriber) >> 5) % (BUCKETS // 2)) % BUCKETS
        self._buckets[subscriber.bucket].add(subscriber)

    def remove(self, subscriber: Client) -> bool:
        """Remove a client; return False if it is not connected."""
        self._closing.pop(subscriber, None)
        bucket = self._buckets[subscriber.bucket]
        if subscriber not in bucket:
            return False
        bucket.remove(subscriber)
        return True

    def begin_handshake(self, subscriber: Client) -> None:
        """Start the deadline for answering a handshake, counted from its request."""
        self._handshakes[subscriber] = subscriber.since + self._handshake_timeout

    def end_handshake(self, subscriber: Client) -> None:
        """Cancel the deadline of a handshake that was answered, or whose client has ended."""
        del self._handshakes[subscriber]

    def expect_end(self, subscriber: Client) -> None:
        """Start the deadline for the end of a closing client."""
        self._closing[subscriber] = time.monotonic() + self._close_timeout

    def ping(self) -> Iterator[None]:
        """End subscribers of one bucket that did not answer the last ping; ping another bucket.

        All steps must be done before the next call, or a client could have too little time to
        answer.
        """
        for step in in_steps(tuple(self._buckets[(self._ping_at - self._pong_ticks) % BUCKETS])):
            for subscriber in step:
                if subscriber.is_silent:
                    self._stats.timeouts += 1
                    subscriber.abort()
            yield
        for step in in_steps(tuple(self._buckets[self._ping_at])):
            for subscriber in step:
                subscriber.ping()
            yield
        self._ping_at = (self._ping_at + 1) % BUCKETS

    def send_heartbeat(self) -> Iterator[None]:
        """Send the heartbeat to the next bucket."""
        for step in in_steps(tuple(self._buckets[self._heartbeat_at])):
            for subscriber in step:
                if subscriber.takes_heartbeats:
                    subscriber.write(self._heartbeat[subscriber.encoding])
            yield
        self._heartbeat_at = (self._heartbeat_at + 1) % BUCKETS

    def sweep(self) -> Iterator[None]:
        """End subscribers that have not answered a close frame, or got no answer, in time."""
        now = time.monotonic()
        late = [each for each, deadline in self._handshakes.items() if deadline <= now]
        for step in in_steps(late):
            for subscriber in step:
                if subscriber in self._handshakes:  # it may have been answered meanwhile
                    self._stats.handshake_timeouts += 1
                    subscriber.close(HANDSHAKE_TIMEOUT.code, HANDSHAKE_TIMEOUT.reason)
            yield
        while late := first_due(self._closing, now):
            for subscriber in late:
                if self._closing.pop(subscriber, None) is not None:  # else it ended meanwhile
                    self._stats.timeouts += 1
                    subscriber.abort()
            yield
