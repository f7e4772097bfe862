"""The broker inside one process: for tests, for a demo without Redis, for development.

It keeps every promise of `wsredis.brokers.base` for one process, and reaches no other. Brokers with
the same name (``memory://name``) are one, so that a publisher finds the middleware's.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

import gevent
from gevent.lock import RLock

from ..loop import Loop
from ..message import Message, decode
from .base import Deliver, FeedStats

__all__ = ["MemoryBroker"]

log = logging.getLogger("wsredis.brokers.memory")


class MemoryFeed:
    """Bring one hub the messages of a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker, loop: Loop, deliver: Deliver) -> None:
        self.stats = FeedStats()
        self.stats.connected = True
        self.channels: set[str] = set()
        self._broker = broker
        self._loop = loop
        self._deliver = deliver
        self._arrived: list[Message] = []
        self._delivering = RLock()

    def put(self, messages: list[Message]) -> None:
        """Take messages from any thread; the broker holds its lock."""
        wake = not self._arrived
        self._arrived += messages
        if wake:
            self._loop.soon(self._loop.spawn, self._hand_over)

    def _hand_over(self) -> None:
        with self._delivering:  # delivering gives way, and order must hold
            with self._broker.lock:
                arrived, self._arrived = self._arrived, []
            try:
                if arrived:
                    for _ in self._deliver(arrived):
                        gevent.sleep(1e-6)
            except Exception:
                log.exception("messages could not be delivered")
                self.stats.lose()

    def subscribe(self, channels: Sequence[str]) -> list[Message]:
        with self._broker.lock:
            self.channels.update(channels)
            kept = self._broker.kept(channels)
        self._hand_over()
        return kept

    def appended(self, channel: str) -> list[Message]:
        with self._broker.lock:
            return self._broker.list_of(channel)

    def unsubscribe(self, channels: Sequence[str]) -> None:
        with self._broker.lock:
            self.channels.difference_update(channels)

    def refused(self) -> list[str]:
        return []

    def publish(
        self, channels: Sequence[str], payload: bytes, expire: int, answered: Callable[[bool], None]
    ) -> None:
        self._broker.publish(channels, payload, expire)
        answered(True)

    def close(self) -> None:
        with self._broker.lock:
            self._broker.feeds.discard(self)
            self._arrived = []
        self.stats.connected = False


class MemoryBroker:
    """Move messages between the threads and hubs of one process.

    Args:
        clock: returns seconds; kept messages expire by it.
        envelope: whether binary is marked, see `Config`.
    """

    _named: ClassVar[dict[tuple[str, bool], MemoryBroker]] = {}

    def __init__(self, clock: Callable[[], float] = time.monotonic, envelope: bool = True) -> None:
        self.envelope = envelope
        self.lock = threading.Lock()
        self.feeds: set[MemoryFeed] = set()
        self._kept: dict[str, tuple[float, bytes]] = {}
        self._lists: dict[str, tuple[float, list[bytes]]] = {}
        self._sweep_at = 1000
        self._clock = clock

    @classmethod
    def named(cls, url: str, envelope: bool = True) -> MemoryBroker:
        """Return the one broker of this process that a ``memory://`` URL names."""
        return cls._named.setdefault((url, envelope), cls(envelope=envelope))

    def kept(self, channels: Sequence[str]) -> list[Message]:
        """Return the last messages that have not expired; the caller holds the lock."""
        now = self._clock()
        found = [(channel, self._kept.get(channel)) for channel in channels]
        live = [(channel, kept[1]) for channel, kept in found if kept and kept[0] > now]
        return [decode(*pair, self.envelope) for pair in live]

    def list_of(self, channel: str) -> list[Message]:
        """Return what is appended to a channel and has not expired; the caller holds the lock."""
        until, payloads = self._lists.get(channel, (0.0, []))
        live = payloads if until > self._clock() else []
        return [decode(channel, payload, self.envelope) for payload in live]

    def _keep(self, channels: Sequence[str], payload: bytes, now: float, expire: int) -> None:
        self._kept.update(dict.fromkeys(channels, (now + expire, payload)))
        if len(self._kept) > self._sweep_at:
            self._kept = {name: kept for name, kept in self._kept.items() if kept[0] > now}
            self._sweep_at = max(1000, 2 * len(self._kept))

    def open(self, loop: Loop, deliver: Deliver) -> MemoryFeed:
        feed = MemoryFeed(self, loop, deliver)
        with self.lock:
            self.feeds.add(feed)
        return feed

    def publish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        with self.lock:
            if expire:
                self._keep(channels, payload, self._clock(), expire)
            return self._put(channels, payload)

    def _put(self, channels: Sequence[str], payload: bytes) -> int:
        """Hand a message to the feeds; the caller holds the lock."""
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
            until, before = self._lists.get(channel, (0.0, []))
            kept = [*(before if until > now else ()), payload][-most:]
            self._lists[channel] = now + seconds, kept
            return self._put([channel], payload)

    async def apublish(self, channels: Sequence[str], payload: bytes, expire: int) -> int:
        return self.publish(channels, payload, expire)

    def fetch(self, channels: Sequence[str]) -> list[Message]:
        with self.lock:
            return self.kept(channels)

    def put(self, key: str, value: bytes, seconds: int) -> None:
        with self.lock:
            self._keep([key], value, self._clock(), seconds)

    def take(self, key: str) -> bytes | None:
        with self.lock:
            expires, value = self._kept.pop(key, (0.0, b""))
            return value if expires > self._clock() else None
