"""When subscribers are written to: few at once, many a batch at a time.

A message to few goes out as soon as it is here. One to many is worked off between the loop's other
work, and what comes for its channel meanwhile travels with it.

Invariants:

* To one subscriber, a message to few and one to many keep their order: who gets the one is first
  given what waits of the other (`Channel.take_backlog`).
* A channel is in the queue exactly while messages wait in it, and once.
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
"""Bytes that wait for their turn; before there is room, nothing more is taken."""


class Dispatch:
    """The writing of messages to subscribers, in order and without holding up the loop.

    Args:
        loop: where all of this runs.
        stats: where it counts what is delivered.
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
        self._queue: deque[Channel] = deque()  # whose messages wait, each once
        self._round = 0  # subscribers of the first one served since others had their turn
        self._written = 0  # subscribers of small ones served since others had their turn
        self._timer: Any = None  # of the next batch

    def put(self, channel: Channel, messages: Sequence[Message], gaps: int) -> None:
        """Write messages to few, or let them wait.

        Call `should_yield` before the next ones, and `flush` after all that one turn has brought.

        Args:
            channel: who gets them.
            messages: of this channel, in order.
            gaps: how many there were before these messages, see `FeedStats`.
        """
        if len(channel.members) > BATCH_SIZE:
            channel.wait(messages, gaps)
            if channel not in self._queue:
                self._queue.append(channel)
            return
        if self._queue:
            for subscriber in tuple(channel.members):  # those that are dead leave
                self.send_backlog(subscriber)
        channel.wait(messages, gaps)
        while channel.waiting:
            self._written += self._serve(channel)

    def should_yield(self) -> bool:
        """Start on the backlog if it is too large; return whether others have their turn now.

        Call it again after that turn, before the next messages.
        """
        if self._written >= BATCH_SIZE:
            self._written = 0
            return True
        if not self._queue or sum(each.size for each in self._queue) <= MAX_WAITING:
            return False
        self.flush()
        return True

    def flush(self) -> None:
        """Begin with what waits, unless that is being worked off."""
        if self._timer is None:
            self._work()

    def send_backlog(self, subscriber: Subscriber) -> None:
        """Write to a subscriber what waits for it, before its batch is served."""
        for channel in self._queue:
            others, own_skipped = channel.take_backlog(subscriber)
            subscriber.sent -= own_skipped
            self._write_to(subscriber, others)

    def send_recent(self, subscriber: Subscriber, messages: Sequence[Encoded]) -> None:
        """Write to a new subscriber what has come while it was joining, in that order."""
        self.send_backlog(subscriber)
        subscriber.sent += len(messages)
        for encoded in messages:
            self._write_to(subscriber, [encoded])

    def close(self) -> None:
        """Write nothing any more; all sockets have been ended."""
        self._stop()

    def _work(self) -> None:
        """Write to the next batch or to a few thin ones, and plan the rest."""
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
        """Serve a batch of the first channel; after a round others have their turn."""
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
        """Write to the next batch what waits for it, and return the number of its subscribers."""
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
        """Write messages to sockets; where that fails, all are told before the next ones."""
        delivered = len(encoded.messages) * len(subscribers)
        try:
            write_all(subscribers, encoded[encoding], encoded if self._drops else None)
        except Exception:
            log.exception("messages could not be delivered")
            self._on_failure()
        else:
            self._stats.delivered += delivered
