"""When listeners are written to: few at once, many a piece at a time.

A message to few goes out as soon as it is here. One to many is worked off between the loop's other
work, and what comes for its channel before it is begun is joined with it. To a socket, a message to
few and one to many keep their order: who gets the one is first given what waits of the other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .fanout import write_all
from .listeners import Apart, Frames, Groups, Listeners, weight
from .logs import get_logger
from .loop import Loop
from .message import Message

if TYPE_CHECKING:
    from .connection import Connection
    from .hub import HubStats

__all__ = ["TURN", "Dispatch"]

log = get_logger("wsredis.dispatch")

TURN = 128
"""Sockets written before other work of the loop has its turn. A channel with more is worked off."""

MOST_WAITING = 1 << 20
"""Bytes that wait for their turn; before there is room, nothing more is taken."""

SOON = 1e-6
"""Seconds until the next piece; 0 would be a callback, which goes before sockets."""

COMPANY, COMPANY_MOST = 1 / 8, 1 / 2
"""Of the time that the last batch took: how long the next one waits for others to be joined with,
and how long it goes on waiting while others come."""


class Job:
    """Messages of one channel on their way to many sockets, a piece of them at a time."""

    __slots__ = ("_began", "_left", "channel", "frames", "pieces")

    def __init__(self, channel: Listeners, messages: Sequence[Message], groups: Groups) -> None:
        self.channel = channel
        self.frames = Frames(messages)
        self.pieces = deque(
            (bits, group[start : start + TURN])
            for bits, group in groups
            for start in range(0, len(group), TURN)
        )
        self._began = time.monotonic()
        self._left: set[Connection] | None = None  # who waits; made when somebody asks

    @property
    def seconds(self) -> float:
        """Return the time since it began."""
        return time.monotonic() - self._began

    def next(self) -> tuple[int, Sequence[Connection]]:
        """Take the next piece: the window bits and the sockets."""
        bits, piece = self.pieces.popleft()
        if self._left is None:
            return bits, piece
        left = [connection for connection in piece if connection in self._left]
        self._left.difference_update(left)
        return bits, left

    def give(self, connection: Connection) -> bool:
        """Tell whether a socket waits for this, and let it wait no longer."""
        if self._left is None:
            self._left = {each for _, piece in self.pieces for each in piece}
        there = connection in self._left
        self._left.discard(connection)
        return there


class Dispatch:
    """Write messages to the listeners of channels, in order and without keeping the loop.

    Args:
        loop: where all of this runs.
        stats: where it counts what is delivered.
        sheds: whether messages may give way in an outbox, see `Config.overflow`.
        failed: called when messages were not delivered because of an error.
    """

    def __init__(
        self, loop: Loop, stats: HubStats, sheds: bool, failed: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._stats = stats
        self._sheds = sheds
        self._failed = failed
        self._queue: deque[Listeners] = deque()  # whose messages wait, each once
        self._size = 0  # bytes of these messages
        self._job: Job | None = None
        self._written = 0  # sockets, since others had their turn
        self._timer: Any = None  # of the next piece

    def put(self, channel: Listeners, messages: Sequence[Message], gaps: int) -> Iterator[None]:
        """Write messages to few, or let them wait; call `go` after all that one turn has brought.

        Yields where others may have their turn.

        Args:
            channel: who gets them.
            messages: of this channel, in order.
            gaps: how many there were before these messages, see `FeedStats`.
        """
        queued = channel in self._queue
        channel.wait(messages, gaps)
        if queued or len(channel.members) > TURN or (self._job and self._job.channel is channel):
            if not queued:
                self._queue.append(channel)
            self._size += weight(messages)
            while self._size > MOST_WAITING:
                self.go()
                yield
            return
        if self._job or self._queue:
            for connection in tuple(channel.members):  # who is dead leaves
                self._give(connection)
        while channel.waiting:
            taken, groups, apart = channel.take()
            self._write_apart(apart)
            frames = Frames(taken)
            for bits, group in groups:
                self._write(group, frames, bits)
                self._written += len(group)
        if self._written >= TURN:
            self._written = 0
            yield

    def go(self) -> None:
        """Begin with what waits, unless that is being worked off."""
        if self._timer is None:
            self._work()

    def close(self) -> None:
        """Write nothing any more."""
        self._queue.clear()
        self._job = None
        self._stop()

    def _work(self) -> None:
        """Write the next piece, and plan the one behind it."""
        self._stop()
        done, room = 0.0, TURN
        try:
            while room > 0 and (self._job or self._queue):
                job = self._job = self._job or self._begin()
                if job.pieces:
                    bits, sockets = job.next()
                    self._write(sockets, job.frames, bits)
                    room -= len(sockets)
                if not job.pieces:
                    self._job = None
                    done = job.seconds
                    break
        except Exception:
            log.exception("messages could not be delivered")
            self._job = None
            self._failed()
        if self._job:
            self._plan(SOON, self._work)
        elif self._queue:
            until = time.monotonic() + done * COMPANY_MOST
            self._plan(max(SOON, done * COMPANY), self._gather, done * COMPANY, self._size, until)

    def _gather(self, pause: float, size: int, until: float) -> None:
        """Begin with what waits, unless it has become more: then wait for more of it."""
        if self._size > size and time.monotonic() + pause < until:
            self._plan(pause, self._gather, pause, self._size, until)
        else:
            self._work()

    def _plan(self, seconds: float, function: Callable[..., None], *args: Any) -> None:
        self._stop()
        self._timer = self._loop.gevent.timer(seconds)
        self._timer.start(function, *args)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _begin(self) -> Job:
        channel = self._queue.popleft()
        messages, groups, apart = channel.take()
        self._size -= weight(messages)
        if channel.waiting:
            self._queue.append(channel)
        self._write_apart(apart)
        return Job(channel, messages, groups)

    def _write_apart(self, apart: Apart) -> None:
        """Write to those who do not get all of what was taken."""
        for connection, (theirs, own) in apart.items():
            connection.sent -= own
            self._write_to(connection, theirs)

    def _give(self, connection: Connection) -> None:
        """Write to a socket what waits for it, before all others."""
        if self._job and self._job.give(connection):
            self._write((connection,), self._job.frames, connection.window_bits)
        for channel in self._queue:
            self._write_to(connection, channel.ahead(connection))

    def _write_to(self, connection: Connection, messages: Sequence[Message]) -> None:
        if messages:
            self._write((connection,), Frames(messages), connection.window_bits)

    def _write(self, connections: Sequence[Connection], frames: Frames, bits: int) -> None:
        write_all(connections, frames[bits], frames if self._sheds else None)
        self._stats.delivered += len(frames.messages) * len(connections)
