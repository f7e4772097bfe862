"""A fake Redis whose replies are set by a test."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gevent.event import Event

from wsredis.brokers.copies import OPTION
from wsredis.brokers.redis.feed import RedisFeed
from wsredis.brokers.redis.resp import Parser
from wsredis.brokers.redis.retained import SMALL
from wsredis.brokers.redis.watch import Watch
from wsredis.exceptions import BrokerUnavailable
from wsredis.runtime.loop import Loop

SECONDS = 30.0
NEWS, CHAT = "ws:broadcast:news", "ws:broadcast:chat"


class Peer:
    """The Redis at the other end of one link."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(SECONDS)
        self._sock = sock
        self._parser = Parser()
        self._commands: list[list[bytes]] = []

    def next(self) -> list[str]:
        """Wait for the next command."""
        while not self._commands:
            data = self._sock.recv(1 << 16)
            assert data, "the link has ended"
            self._commands += self._parser.feed(data)
        return [word.decode() for word in self._commands.pop(0)]

    def expect(self, *words: str) -> None:
        assert self.next() == list(words)

    def say(self, *replies: bytes) -> None:
        """Send replies in one piece, so that one read of the link takes them together."""
        self._sock.sendall(b"".join(replies))

    def expect_reads(self, *channels: str, tracked: bool = False) -> None:
        """Expect the commands that read retained messages, whose last reply is a number."""
        for channel in channels:
            if tracked:
                self.expect("CLIENT", "CACHING", "YES")
            self.expect("GETRANGE", channel, "0", str(SMALL))
        self.expect("EXISTS", *channels)

    def accept(self, *channels: str) -> None:
        """Confirm the channels of a new subscriber, which have no retained messages."""
        self.expect("SUBSCRIBE", *channels)
        self.expect_reads(*channels)
        self.say(*map(confirmed, channels), b"$0\r\n\r\n" * len(channels), b":0\r\n")

    def track(self, channel: str, retained: bytes = b"", first: bool = False) -> None:
        """Answer a new subscriber of a channel that is subscribed already.

        Args:
            channel: the channel.
            retained: its retained message, or nothing.
            first: whether it is the first one of the link.
        """
        if first:
            self.expect("CLIENT", "TRACKING", "ON", "OPTIN")
            self.say(b"+OK\r\n")
        self.expect_reads(channel, tracked=True)
        bulk = b"$%d\r\n%b\r\n" % (len(retained), retained)
        self.say(b"+OK\r\n", bulk, b":%d\r\n" % bool(retained))

    def ended(self) -> bool:
        """Wait for the end of the link."""
        with suppress(ConnectionResetError):  # if it has left bytes unread
            while self._sock.recv(1 << 16):
                pass
        return True

    def close(self) -> None:
        self._sock.close()


def confirmed(channel: str) -> bytes:
    return b">3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (len(channel), channel.encode())


def unsubscribed(channel: str) -> bytes:
    return confirmed(channel).replace(b"$9\r\n", b"$11\r\nun")


def message(data: str, channel: str = NEWS) -> bytes:
    words = b"message", channel.encode(), data.encode()
    return b">3\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class FakeRedis:
    """A fake that opens links, or refuses them while `unavailable` is set."""

    def __init__(self) -> None:
        self.unavailable = False
        self.attempts = 0
        self.kind = socket.socket
        self.fetched: Callable[[str], bytes | None] = {}.get
        self.gate: Event | None = None
        self.run_id = "first"
        self.looks = 0
        self._peers: queue.Queue[Peer] = queue.Queue()
        self._all: list[Any] = []

    def connect(self) -> Any:
        self.attempts += 1
        if self.gate is not None:
            self.gate.wait()
        if self.unavailable:
            raise BrokerUnavailable("the fake is unavailable")
        pair, far = socket.socketpair()
        near = self.kind(fileno=pair.detach())
        peer = Peer(far)
        self._all += [near, peer]
        self._peers.put(peer)

        class Connection:
            sock = near
            run_id = self.run_id
            close = near.close

        return Connection

    def find_run_id(self) -> str:
        self.looks += 1
        return self.run_id

    def peer(self) -> Peer:
        """Wait for the next link, and do not tell it the limit of the output."""
        peer = self._peers.get(timeout=SECONDS)
        peer.expect("CONFIG", "GET", OPTION)
        peer.say(b"-NOPERM this is not permitted\r\n")
        return peer

    def close(self) -> None:
        for each in self._all:
            each.close()


class Broker:
    """A broker whose feeds connect to the fake."""

    def __init__(self, fake: FakeRedis, deadline: float) -> None:
        self._fake = fake
        self._deadline = deadline

    def open(self, loop: Loop, deliver: Any) -> RedisFeed:
        watch = Watch(self._fake.find_run_id)
        return RedisFeed(self._fake.connect, self._deadline, deliver, self._fetch, watch)

    def _fetch(self, key: str) -> bytes | None:
        return self._fake.fetched(key)


class Call(threading.Thread):
    """A call of a blocking function in a thread, while the test is the other end."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        super().__init__(daemon=True)
        self._work = lambda: function(*args)
        self._value: Any = None
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._work()
        except Exception as exc:
            self._error = exc

    def result(self) -> Any:
        self.join(SECONDS)
        assert not self.is_alive(), "it still waits"
        if self._error is not None:
            raise self._error
        return self._value
