"""The broker inside one process: for tests, for a demo without Redis, for development.

It gives all guarantees of `wsredis.brokers.base` within one process, and does not reach others. A
name (``memory://name``) always stands for the same broker, so that publishers and middleware share
it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

import gevent
from gevent.lock import RLock

from ...message import Message, decode
from ...runtime.loop import NEXT_TURN, Loop
from ..base import UNLIMITED, Deliver
from ..copies import OutputLimit
from ..stats import FeedStats
from .store import Expiring

__all__ = ["MemoryBroker"]

log = logging.getLogger("wsredis.brokers.memory")


class MemoryFeed:
    """The messages of a `MemoryBroker` for one hub (see `Feed`)."""

    def __init__(self, broker: MemoryBroker, loop: Loop, deliver: Deliver) -> None:
        self.stats = FeedStats()
        self.stats.connected = True
        self.channels: set[str] = set()
        self._broker = broker
        self._loop = loop
        self.deliver = deliver
        self._arrived: list[Message] = []
        self._delivering = RLock()

    def put(self, messages: list[Message]) -> None:
        """Take messages from any thread; called with the broker's lock held."""
        wake = not self._arrived
        self._arrived += messages
        if wake:
            self._loop.soon(self._loop.spawn, self._hand_over)

    def _hand_over(self) -> None:
        with self._delivering:  # delivery yields, and messages must stay in order
            with self._broker.lock:
                arrived, self._arrived = self._arrived, []
            try:
                if arrived:
                    for _ in self.deliver(arrived):
                        gevent.sleep(NEXT_TURN)
            except Exception:
                log.exception("messages could not be delivered")
                self.stats.count_gap()

    def subscribe(self, channels: Sequence[str], most: int = UNLIMITED) -> list[Message]:
        with self._broker.lock:
            self.channels.update(channels)
            retained = self._broker.retained(channels)
        self._hand_over()
        return retained

    def logged(self, channel: str) -> list[Message]:
        with self._broker.lock:
            return self._broker.log_of(channel)

    def unsubscribe(self, channels: Sequence[str]) -> None:
        with self._broker.lock:
            self.channels.difference_update(channels)

    def refused(self) -> list[str]:
        return []

    def publish(
        self, channels: Sequence[str], payload: bytes, expire: int, on_ack: Callable[[bool], None]
    ) -> None:
        try:
            self._broker.publish(channels, payload, expire)
        except ValueError:
            self.stats.unpublished += 1
            on_ack(False)
        else:
            on_ack(True)

    def close(self) -> None:
        with self._broker.lock:
            self._broker.feeds.discard(self)
            self._arrived = []
        self.stats.connected = False


class MemoryBroker:
    """A broker between the threads and hubs of one process (see `Broker` and `Log`).

    Args:
        clock: returns seconds; determines when retained messages expire.
        envelope: whether binary gets an envelope, see `Config`.
    """

    _named: ClassVar[dict[tuple[str, bool], MemoryBroker]] = {}

    def __init__(self, clock: Callable[[], float] = time.monotonic, envelope: bool = True) -> None:
        self.envelope = envelope
        self.lock = threading.Lock()
        self.feeds: set[MemoryFeed] = set()
        self._retained = Expiring(clock)
        self._logs: dict[str, tuple[float, list[bytes]]] = {}
        self._clock = clock

    @classmethod
    def named(cls, url: str, envelope: bool = True) -> MemoryBroker:
        """Return the broker of this process for a ``memory://`` URL."""
        return cls._named.setdefault((url, envelope), cls(envelope=envelope))

    def retained(self, channels: Sequence[str]) -> list[Message]:
        """Return the retained messages that have not expired; the caller holds the lock."""
        found = [(channel, self._retained.get(channel)) for channel in channels]
        return [decode(name, value, self.envelope) for name, value in found if value is not None]

    def log_of(self, channel: str) -> list[Message]:
        """Return the log of a channel if it has not expired; the caller holds the lock."""
        until, payloads = self._logs.get(channel, (0.0, []))
        live = payloads if until > self._clock() else []
        return [decode(channel, payload, self.envelope) for payload in live]

    def open(self, loop: Loop, deliver: Deliver) -> MemoryFeed:
        feed = MemoryFeed(self, loop, deliver)
        with self.lock:
            self.feeds.add(feed)
        return feed

    def publish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        OutputLimit().check(len(payload), len(channels))
        with self.lock:
            if expire:
                self._retained.put(channels, payload, expire)
            return self._put(channels, payload)

    def _put(self, channels: Sequence[str], payload: bytes) -> int:
        """Pass a message to the feeds; the caller holds the lock."""
        messages = [decode(channel, payload, self.envelope) for channel in channels]
        receivers = 0
        for feed in self.feeds:
            wanted = [message for message in messages if message.channel in feed.channels]
            receivers += len(wanted)
            if wanted:
                feed.put(wanted)
        return receivers

    def append(self, channel: str, payload: bytes, seconds: int, most: int) -> int:
        with self.lock:
            now = self._clock()
            until, before = self._logs.get(channel, (0.0, []))
            live = [*(before if until > now else ()), payload][-most:]
            self._logs[channel] = now + seconds, live
            return self._put([channel], payload)

    async def apublish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        return self.publish(channels, payload, expire)

    def fetch(self, channels: Sequence[str]) -> list[Message]:
        with self.lock:
            return self.retained(channels)
