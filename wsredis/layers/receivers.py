"""The subscribers of the hub that receive the messages of layer channels.

An `OwnChannel` is a channel that only this process receives; it subscribes to its own messages and
to those of its groups. A `QueueReader` reads a queue on behalf of the callers in this process that
wait for its messages. To the hub, both are subscribers without a socket.
"""

from __future__ import annotations

import math
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import gevent
from gevent.event import Event

from ..brokers.queues import Item, Queues
from ..exceptions import BrokerUnavailable, MessagesLost
from ..hub.encoding import Encoded, Encoding
from ..message import Message
from ..process import Process
from ..runtime.logs import get_logger
from ..runtime.owner import ChannelOwner
from .inbox import Inbox
from .members import Member, too_many_groups

__all__ = ["CONTROL", "Home", "OwnChannel", "QueueReader"]

log = get_logger("wsredis.layers")

_clock = time.monotonic

CONTROL = b"\xc1"
"""The first byte of a control message; no message in any format begins with it."""

POLL_SECONDS = 5.0
"""Seconds after which a waiting reader looks at its queue again, in case a wake-up was lost."""

_HEAD = struct.Struct(">II")


class _Encoding:
    """The encoding of messages for receivers: channel and payload, after the length of each."""

    def encode(self, message: Message, *, in_thread: bool = False) -> bytes:
        channel = message.channel.encode()
        return _HEAD.pack(len(channel), len(message.payload)) + channel + message.payload

    def is_costly(self, message: Message) -> bool:
        return False


_ENCODING = _Encoding()


def split(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over the channels and payloads of joined encoded messages."""
    at = 0
    while at < len(data):
        channel_size, payload_size = _HEAD.unpack_from(data, at)
        start = at + _HEAD.size + channel_size
        at = start + payload_size
        yield data[start - channel_size : start], data[start:at]


class Receiver:
    """A subscriber of a hub without a socket (see `wsredis.hub.subscriber`).

    The functions are called on the hub's loop and must not block.

    Args:
        on_message: takes the channel and the payload of each message.
        on_gap: takes the reason why messages may have been lost.
        on_end: called when the hub is closed.
    """

    def __init__(
        self,
        on_message: Callable[[bytes, bytes], None],
        on_gap: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        self.abort = on_end
        self.bucket = 0
        self.channels: tuple[str, ...] = ()
        self.encoding: Encoding = _ENCODING
        self.fd = -1
        self.send_buffer: object = ()
        self.sent = 0
        self.since = _clock()
        self._on_message = on_message
        self._on_gap = on_gap

    def on_partial_write(self, sent: int, data: bytes, encoded: Encoded | None = None) -> None:
        for channel, payload in split(data):
            self._on_message(channel, payload)

    def send_retained(self, messages: list[Encoded]) -> None:
        """Ignore retained messages: layers have none."""

    def close(self, code: int, reason: str = "") -> None:
        self.since = _clock()  # so that the same gap is not reported twice
        self._on_gap(reason)


class Home(Protocol):
    """The layer of a channel, as the channel sees it; the methods are called on a hub's loop.

    Attributes:
        lock: protects the channels of the layer.
    """

    lock: threading.Lock

    def take_control(self, own: OwnChannel, payload: bytes) -> None:
        """Take a control message to a channel, without its first byte."""

    def deliver(self, member: Member, payload: bytes) -> None:
        """Give a message to a consumer."""

    def drop(self, channel: str, reason: str) -> None:
        """Count a message that is not received."""

    def end(self, own: OwnChannel) -> None:
        """End a channel that is not received any more."""


class OwnChannel:
    """A channel that only this process receives: the messages that wait in it, and its groups.

    Args:
        home: its layer.
        name: its name, which is also that of its channel in Redis.
        capacity: maximum number of messages that wait.
        owner: the application that has made it, if a host runs it.
        member: the consumer that gets its messages instead of readers.

    Attributes:
        controls: the number of control messages that are being executed.
        ended: whether it is not used any more.
        inbox: the messages that wait, as bytes.
        subscribed: whether it is subscribed to its own messages.
    """

    def __init__(
        self,
        home: Home,
        name: str,
        capacity: int,
        owner: ChannelOwner | None,
        member: Member | None = None,
    ) -> None:
        self.member = member
        self.name = name
        self.capacity = capacity
        self.inbox: Inbox[bytes] = Inbox(home.lock)
        self.controls = 0
        self.ended = False
        self.subscribed = False
        self._home = home
        self._in_redis = name.encode()
        self._owner = owner
        self._in_flight = 0  # messages that this process has sent and not received yet
        self._members: dict[Process, Receiver] = {}
        self._unused_at = math.inf

    def join(self, process: Process, channel: str) -> None:
        """Subscribe to a channel of Redis; blocks a greenlet of the loop of ``process``.

        Raises:
            BrokerUnavailable: the broker does not answer or refuses.
            ValueError: it is a member of too many groups.
        """
        with self._home.lock:
            receiver = self._members.get(process)
            if receiver is None:
                on_end = partial(self._lose_hub, process)
                receiver = self._members[process] = Receiver(self._take, self._lose, on_end)
                process.hub.admit_receiver(receiver)
        most = process.config.max_handshake_channels
        # Its own name is one of the channels.
        if most is not None and len(receiver.channels) > most and channel not in receiver.channels:
            raise too_many_groups(most)
        process.hub.subscribe(receiver, [channel], retained=False)
        if self.ended:
            process.hub.forget_receiver(receiver)
        self.subscribed = self.subscribed or channel == self.name

    def processes(self) -> list[Process]:
        """Return the processes whose hubs receive for it."""
        with self._home.lock:
            return list(self._members)

    def leave(self, process: Process, channel: str) -> None:
        """Unsubscribe from a channel of Redis; called on the loop of ``process``."""
        receiver = self._members.get(process)
        if receiver is not None:
            process.hub.unsubscribe(receiver, [channel])

    def end(self) -> None:
        """Unsubscribe from everything, and fail the readers."""
        with self._home.lock:
            self.ended = True
            self.inbox.fail(lambda: MessagesLost(f"the channel {self.name} was closed"))
            members = list(self._members.items())
        for process, receiver in members:
            process.loop.soon(process.hub.forget_receiver, receiver)

    def reserve(self) -> bool:
        """Count a message that is about to be sent to it; return False if there is no room."""
        with self._home.lock:
            if len(self.inbox.items) + self._in_flight >= self.capacity:
                return False
            self._in_flight += 1
            return True

    def unreserve(self) -> None:
        """Count a message out that was reserved and not sent."""
        with self._home.lock:
            self._in_flight = max(0, self._in_flight - 1)

    def keep(self, seconds: float = math.inf) -> None:
        """Let it end if it is not received for some seconds from now on."""
        self._unused_at = _clock() + seconds

    @property
    def is_unused(self) -> bool:
        """Return whether it was not received for so long that it should end."""
        return _clock() >= self._unused_at

    def _take(self, channel: bytes, payload: bytes) -> None:
        if self.is_unused:
            self._home.end(self)
            return
        own = channel == self._in_redis
        if own and payload.startswith(CONTROL):
            self._home.take_control(self, payload[1:])
            return
        if self.member is not None:
            self.unreserve()
            self._home.deliver(self.member, payload)
            return
        with self._home.lock:
            if own and self._in_flight:
                self._in_flight -= 1
            full = len(self.inbox.items) >= self.capacity
            if not full:
                self.inbox.put(payload)
        if full:
            self._home.drop(self.name, f"{self.capacity} messages wait already")

    def _lose(self, reason: str) -> None:
        with self._home.lock:
            self._in_flight = 0
            if self._owner is None:
                text = f"messages to the channel {self.name} may have been lost: {reason}"
                self.inbox.fail(lambda: MessagesLost(text))
        if self._owner is not None:
            self._owner.on_gap()

    def _lose_hub(self, process: Process) -> None:
        with self._home.lock:
            self._members.pop(process, None)
            self.subscribed = False
        self._lose("the connection to Redis was closed")


class QueueReader:
    """The reader of a queue for the callers of this process that wait for its messages.

    Messages are taken from the queue only while callers wait.

    Args:
        process: its hub wakes the reader, and its loop runs it.
        queues: contains the queue.
        key: the key of the queue.
        lock: the lock of the layer.

    Attributes:
        inbox: the callers that wait.
    """

    def __init__(self, process: Process, queues: Queues, key: str, lock: threading.Lock) -> None:
        self.process = process
        self.inbox: Inbox[Item] = Inbox(lock)
        self._queues = queues
        self._key = key
        self._lock = lock
        self._news: Event | None = None  # while it runs

    def start(self) -> None:
        """Look at the queue and at the callers; called on the loop."""
        if self._news is None:
            self._news = Event()
            gevent.spawn(self._run, self._news)
        else:
            self._news.set()

    def _run(self, news: Event) -> None:
        try:
            self._read(news)
        except Exception as exc:
            self._fail(exc)
        self._put_back()
        self._news = None
        if self.inbox.waiting:
            self.start()

    def _read(self, news: Event) -> None:
        hub = self.process.hub
        receiver = Receiver(
            lambda channel, payload: news.set(),
            lambda reason: news.set(),
            lambda: self._fail(BrokerUnavailable("the connection to Redis was closed")),
        )
        try:
            while self.inbox.waiting:
                news.clear()
                if (item := self._take(bool(receiver.channels))) is not None:
                    with self._lock:
                        self.inbox.put(item)
                elif receiver.channels:
                    news.wait(POLL_SECONDS)
                else:
                    hub.admit_receiver(receiver)
                    hub.subscribe(receiver, [self._key], retained=False)
        finally:
            hub.forget_receiver(receiver)

    def _take(self, waits: bool) -> Item | None:
        """Take a message; a reader that waits already waits on while Redis is unavailable."""
        try:
            return self._queues.take(self._key)
        except BrokerUnavailable as exc:
            if not waits:
                raise
            log.debug("cannot read %s, retrying: %s", self._key, exc)
            return None

    def _fail(self, error: Exception) -> None:
        with self._lock:
            if self.inbox.waiting:
                self.inbox.fail(lambda: error)
        if self._news is not None:
            self._news.set()

    def _put_back(self) -> None:
        """Return the messages whose readers were cancelled."""
        with self._lock:
            items = list(self.inbox.items)
            self.inbox.items.clear()
        if items:
            try:
                self._queues.put_back(self._key, items)
            except BrokerUnavailable as exc:
                text = "%d messages of %s are lost, as their readers were cancelled: %s"
                log.error(text, len(items), self._key, exc)
