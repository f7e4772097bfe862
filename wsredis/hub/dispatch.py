"""Dispatch: messages of small channels are written at once, those of large channels in batches.

A message to few subscribers is written when it arrives. A message to many is written batch by
batch, so that other work of the loop runs in between; messages that arrive for the channel
meanwhile are joined to it. A message that takes long to encode is encoded in a thread, one at a
time; while the thread is busy, other large messages are sent in a larger form, which takes no time.

Invariants:

* One subscriber gets the messages of small and large channels in order of arrival: before it gets
  a message of a small channel, it gets its backlog of large ones (`Channel.take_backlog`).
* A channel is in the queue, once, exactly while messages wait in it.
* ``_round`` counts for the first channel of the queue.
* ``_encoding`` is the channel whose next messages are being encoded; it is in the queue, but not
  served meanwhile.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import gevent

from ..message import Message
from ..runtime.logs import get_logger
from ..runtime.loop import NEXT_TURN, Loop
from .channel import BATCH_SIZE, Channel
from .encoding import Encoded, Encoding
from .fanout import write_all
from .stats import HubStats
from .subscriber import Subscriber

__all__ = ["Dispatch"]

log = get_logger("wsredis.dispatch")

MAX_WAITING = 1 << 20
"""Maximum bytes of waiting messages; no more messages are taken beyond that."""

LARGE = 1 << 14
"""Minimum bytes of waiting messages for which a small channel is served like a large one."""

MAX_ENCODING = 1 << 22
"""Maximum bytes waiting in a channel whose messages are encoded in a thread."""

TURN = 1 << 9
"""Bytes of messages that count like one subscriber when the loop is shared with other work."""


class Dispatch:
    """The writer of messages to subscribers, in order and without blocking the loop.

    Args:
        loop: the loop it runs on.
        stats: the counters, for delivered messages.
        drops: whether messages may be dropped from a send buffer, see `Config.overflow`.
        on_failure: called with the subscribers that did not get messages because of an error.
    """

    def __init__(
        self,
        loop: Loop,
        stats: HubStats,
        drops: bool,
        on_failure: Callable[[Sequence[Subscriber]], None],
    ) -> None:
        self._loop = loop
        self._stats = stats
        self._drops = drops
        self._on_failure = on_failure
        self._queue: deque[Channel] = deque()  # channels with waiting messages, each once
        self._round = 0  # subscribers of the first channel served in this round
        self._written = 0  # subscribers of small channels served since the last yield
        self._timer: Any = None  # for the next batch
        self._encoding: Channel | None = None

    def put(self, channel: Channel, messages: Sequence[Message], gaps: int) -> None:
        """Write messages of a small channel, or queue those of a large one.

        Call `should_yield` before the next call, and `flush` after all messages of one iteration of
        the loop.

        Args:
            channel: the channel of the messages.
            messages: messages of this channel, in order.
            gaps: the number of gaps before these messages, see `FeedStats`.
        """
        small = len(channel.members) <= BATCH_SIZE and channel.size <= LARGE
        if small and self._queue and sum(len(each.payload) for each in messages) <= LARGE:
            for subscriber in tuple(channel.members):  # dead ones are removed meanwhile
                self.send_backlog(subscriber)
        channel.wait(messages, gaps)
        if not small or channel.size > LARGE:
            if channel not in self._queue:
                self._queue.append(channel)
            return
        self._written += channel.size // TURN
        while channel.waiting:
            self._written += self._serve(channel)

    def should_yield(self) -> bool:
        """Begin to write the backlog if it is too large; return whether to yield to other work.

        Call it again after yielding, before the next messages.
        """
        if self._written >= BATCH_SIZE:
            self._written = 0
            return True
        if not self._queue:
            return False
        if sum(each.size for each in self._queue if each is not self._encoding) <= MAX_WAITING:
            return False
        self.flush()
        return True

    def flush(self) -> None:
        """Begin to write the waiting messages, unless that has begun already."""
        if self._timer is None:
            self._work()

    def send_backlog(self, subscriber: Subscriber) -> None:
        """Write the messages that wait for a subscriber, before its batch is served."""
        for channel in self._queue:
            others, own_skipped = channel.take_backlog(subscriber)
            subscriber.sent -= own_skipped
            self._write_to(subscriber, others)

    def send_recent(self, subscriber: Subscriber, messages: Sequence[Encoded]) -> None:
        """Write to a new subscriber the messages that arrived while it was joining, in order."""
        self.send_backlog(subscriber)
        subscriber.sent += len(messages)
        for encoded in messages:
            self._write_to(subscriber, [encoded])

    def send(self, subscribers: Iterable[Subscriber], encoded: Encoded) -> None:
        """Write a message to some subscribers, at most a few."""
        same: defaultdict[Encoding, list[Subscriber]] = defaultdict(list)
        for subscriber in subscribers:
            subscriber.sent += 1
            same[subscriber.encoding].append(subscriber)
        for encoding, each in same.items():
            self._write(each, encoded, encoding)

    def close(self) -> None:
        """Stop writing; all sockets have been closed."""
        self._stop()

    def _work(self) -> None:
        """Write to the next batch, or to a few small ones, and schedule the rest."""
        self._stop()
        written = 0
        try:
            while self._queue and written * 2 < BATCH_SIZE:
                if self._encoding is not None and len(self._queue) == 1:
                    return
                written += self._serve_first()
        finally:
            if self._queue and (self._encoding is None or len(self._queue) > 1):
                self._timer = self._loop.gevent.timer(NEXT_TURN)
                self._timer.start(self._work)

    def _serve_first(self) -> int:
        """Serve a batch of the first channel; after a round the next channel is first.

        Returns:
            The number of subscribers, or what counts as much because of the size of the messages.
        """
        channel = self._queue[0]
        is_large = channel.size > LARGE
        if channel is self._encoding or (is_large and self._encode(channel)):
            self._round = 0
            self._queue.rotate(-1)
            return 0
        written = self._serve(channel) if channel.waiting else 0
        self._round += written
        if not channel.waiting or self._round >= len(channel.members):
            self._round = 0
            self._queue.rotate(-1)
            if not channel.waiting:
                self._queue.pop()
        return BATCH_SIZE if is_large else written  # encoding takes time, too

    def _encode(self, channel: Channel) -> bool:
        """Encode the next messages of a channel in a thread if that takes long.

        Returns:
            Whether the channel has to wait for them.
        """
        if self._encoding is not None or channel.size > MAX_ENCODING:
            return False
        chunk, encoding = channel.peek()
        if not chunk.is_costly(encoding):
            return False
        self._encoding = channel
        result = gevent.get_hub().threadpool.spawn(chunk.encode_in_thread, encoding)
        result.rawlink(partial(self._encoded, chunk, encoding))
        return True

    def _encoded(self, chunk: Encoded, encoding: Encoding, result: Any) -> None:
        """Continue with messages that were encoded in a thread."""
        self._encoding = None
        if result.successful():
            chunk[encoding] = result.get()
        else:
            chunk[encoding]  # the larger form
        self.flush()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _serve(self, channel: Channel) -> int:
        """Write the waiting messages to the next batch; return the number of its subscribers."""
        chunk, encoding, subscribers, exceptions = channel.serve()
        size = len(subscribers) + len(exceptions)
        for subscriber, (_, own_skipped) in exceptions.items():  # before any of them can end
            subscriber.sent -= own_skipped
        for subscriber, (others, _) in exceptions.items():
            self._write_to(subscriber, others)
        if subscribers:
            self._write(subscribers, chunk, encoding)
        return size

    def _write_to(self, subscriber: Subscriber, each: Sequence[Encoded]) -> None:
        if each:
            self._write((subscriber,), Encoded.joined(each), subscriber.encoding)

    def _write(
        self, subscribers: Sequence[Subscriber], encoded: Encoded, encoding: Encoding
    ) -> None:
        """Write messages to subscribers; after an error, call ``on_failure``."""
        delivered = len(encoded.messages) * len(subscribers)
        try:
            write_all(subscribers, encoded[encoding], encoded if self._drops else None)
        except Exception:
            log.exception("messages could not be delivered")
            self._on_failure(tuple(subscribers))
        else:
            self._stats.delivered += delivered
