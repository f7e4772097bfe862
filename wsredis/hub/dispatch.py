"""Dispatch: messages of small channels are written at once, those of large channels in batches.

A message to few subscribers is written when it arrives. A message to many is written batch by
batch, so that other work of the loop runs in between; messages that arrive for the channel
meanwhile are joined to it.

Invariants:

* One subscriber gets the messages of small and large channels in order of arrival: before it gets
  a message of a small channel, it gets its backlog of large ones (`Channel.take_backlog`).
* A channel is in the queue, once, exactly while messages wait in it.
* Only the first channel of the queue may be in the middle of a round.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

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


class Dispatch:
    """The writer of messages to subscribers, in order and without blocking the loop.

    Args:
        loop: the loop it runs on.
        stats: the counters, for delivered messages.
        drops: whether messages may be dropped from a send buffer, see `Config.overflow`.
        on_failure: called when messages were not delivered because of an error.
    """

    def __init__(
        self, loop: Loop, stats: HubStats, drops: bool, on_failure: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._stats = stats
        self._drops = drops
        self._on_failure = on_failure
        self._queue: deque[Channel] = deque()  # channels with waiting messages, each once
        self._round = 0  # subscribers of the first channel served in this round
        self._written = 0  # subscribers of small channels served since the last yield
        self._timer: Any = None  # for the next batch

    def put(self, channel: Channel, messages: Sequence[Message], gaps: int) -> None:
        """Write messages of a small channel, or queue those of a large one.

        Call `should_yield` before the next call, and `flush` after all messages of one iteration of
        the loop.

        Args:
            channel: the channel of the messages.
            messages: messages of this channel, in order.
            gaps: the number of gaps before these messages, see `FeedStats`.
        """
        if len(channel.members) > BATCH_SIZE:
            channel.wait(messages, gaps)
            if channel not in self._queue:
                self._queue.append(channel)
            return
        if self._queue:
            for subscriber in tuple(channel.members):  # dead ones are removed meanwhile
                self.send_backlog(subscriber)
        channel.wait(messages, gaps)
        while channel.waiting:
            self._written += self._serve(channel)

    def should_yield(self) -> bool:
        """Begin to write the backlog if it is too large; return whether to yield to other work.

        Call it again after yielding, before the next messages.
        """
        if self._written >= BATCH_SIZE:
            self._written = 0
            return True
        if not self._queue or sum(each.size for each in self._queue) <= MAX_WAITING:
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

    def close(self) -> None:
        """Stop writing; all sockets have been closed."""
        self._stop()

    def _work(self) -> None:
        """Write to the next batch, or to a few small ones, and schedule the rest."""
        self._stop()
        written = 0
        try:
            while self._queue and written * 2 < BATCH_SIZE:
                written += self._serve_first()
        finally:
            if self._queue:
                self._timer = self._loop.gevent.timer(NEXT_TURN)
                self._timer.start(self._work)

    def _serve_first(self) -> int:
        """Serve a batch of the first channel; after a round the next channel is first."""
        channel = self._queue[0]
        written = self._serve(channel) if channel.waiting else 0
        self._round += written
        if not channel.waiting or self._round >= len(channel.members):
            self._round = 0
            self._queue.rotate(-1)
            if not channel.waiting:
                self._queue.pop()
        return written

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
            self._on_failure()
        else:
            self._stats.delivered += delivered
