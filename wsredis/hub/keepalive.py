"""Everybody who is connected to this process, and the timers that notice who is gone.

Subscribers are spread over buckets that are pinged one after the other, so that no moment has them
all. Which bytes a ping is belongs to the transports.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..config import Config
from ..message import Message
from .encoding import Encoded
from .stats import HubStats
from .subscriber import Subscriber

__all__ = ["BUCKETS", "Keepalive"]

BUCKETS = 31
"""Parts of all subscribers that are pinged one after the other."""


class Keepalive:
    """All subscribers of a hub: pinged, sent heartbeats, and ended where they do not answer.

    Args:
        config: its intervals and deadlines are used.
        stats: counts who has not answered in time.
    """

    def __init__(self, config: Config, stats: HubStats) -> None:
        self._stats = stats
        self._close_timeout = config.close_timeout
        self._pong_ticks = max(1, round(config.pong_timeout / config.ping_interval * BUCKETS))
        self._heartbeat = Encoded([Message("", (config.heartbeat or "").encode())])
        self._ping_at = self._heartbeat_at = 0
        self._buckets: list[set[Subscriber]] = [set() for _ in range(BUCKETS)]
        self._closing: dict[Subscriber, float] = {}

    def stays(self, subscriber: Subscriber) -> bool:
        """Return whether a client is connected and not closing."""
        here = subscriber in self._buckets[subscriber.bucket]
        return here and subscriber not in self._closing

    def __iter__(self) -> Iterator[Subscriber]:
        for bucket in self._buckets:
            yield from bucket

    def __len__(self) -> int:
        return sum(map(len, self._buckets))

    def add(self, subscriber: Subscriber) -> None:
        """Take a newcomer into the half that is pinged last: nobody is pinged at once."""
        subscriber.bucket = (self._ping_at - 1 - (hash(subscriber) >> 5) % (BUCKETS // 2)) % BUCKETS
        self._buckets[subscriber.bucket].add(subscriber)

    def remove(self, subscriber: Subscriber) -> bool:
        """Remove a client; return False for one that is not connected."""
        self._closing.pop(subscriber, None)
        bucket = self._buckets[subscriber.bucket]
        if subscriber not in bucket:
            return False
        bucket.remove(subscriber)
        return True

    def expect_end(self, subscriber: Subscriber) -> None:
        """Give a client that closes until the deadline to end."""
        self._closing[subscriber] = time.monotonic() + self._close_timeout

    def ping(self) -> None:
        """End those of one bucket that did not answer the last ping, and ping another one."""
        for subscriber in tuple(self._buckets[(self._ping_at - self._pong_ticks) % BUCKETS]):
            if subscriber.is_silent:
                self._stats.timeouts += 1
                subscriber.abort()
        for subscriber in tuple(self._buckets[self._ping_at]):
            subscriber.ping()
        self._ping_at = (self._ping_at + 1) % BUCKETS

    def send_heartbeat(self) -> None:
        """Send the heartbeat to the next bucket."""
        for subscriber in tuple(self._buckets[self._heartbeat_at]):
            if subscriber.is_open:
                subscriber.write(self._heartbeat[subscriber.encoding])
        self._heartbeat_at = (self._heartbeat_at + 1) % BUCKETS

    def sweep(self) -> None:
        """End those who have not answered a close frame in time."""
        now = time.monotonic()
        while self._closing:
            subscriber, deadline = next(iter(self._closing.items()))
            if deadline > now:
                return
            self._stats.timeouts += 1
            subscriber.abort()
