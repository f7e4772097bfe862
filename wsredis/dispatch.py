"""When listeners are written to: few at once, many a row at a time.

A message to few goes out as soon as it is here. One to many is worked off between the loop's other
work, and what comes for its channel meanwhile travels with it. To a socket, a message to few and
one to many keep their order: who gets the one is first given what waits of the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .fanout import write_all
from .listeners import TURN, Frames, Listeners
from .logs import get_logger
from .loop import Loop
from .message import Message

if TYPE_CHECKING:
    from .connection import Connection
    from .hub import HubStats

__all__ = ["Dispatch"]

log = get_logger("wsredis.dispatch")

MOST_WAITING = 1 << 20
"""Bytes that wait for their turn; before there is room, nothing more is taken."""

SOON = 1e-6
"""Seconds until the next row; 0 would be a callback, which goes before sockets."""


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
        self._round = 0  # sockets of the first one's since others had their turn
        self._written = 0  # sockets of small ones since others had their turn
        self._timer: Any = None  # of the next row

    def put(self, channel: Listeners, messages: Sequence[Message], gaps: int) -> None:
        """Write messages to few, or let them wait.

        Call `make_way` before the next ones, and call `go` after all that one turn has brought.

        Args:
            channel: who gets them.
            messages: of this channel, in order.
            gaps: how many there were before these messages, see `FeedStats`.
        """
        if len(channel.members) > TURN:
            channel.wait(messages, gaps)
            if channel not in self._queue:
                self._queue.append(channel)
            return
        if self._queue:
            for connection in tuple(channel.members):  # who is dead leaves
                self._give(connection)
            if not channel.members:
                return
        channel.wait(messages, gaps)
        while channel.waiting:
            self._written += self._serve(channel)

    def make_way(self) -> bool:
        """Begin with what waits where it is too much; return whether others have their turn now.

        Call it again after that turn, before the next messages.
        """
        if self._written >= TURN:
            self._written = 0
            return True
        if not self._queue or sum(each.size for each in self._queue) <= MOST_WAITING:
            return False
        self.go()
        return True

    def go(self) -> None:
        """Begin with what waits, unless that is being worked off."""
        if self._timer is None:
            self._work()

    def close(self) -> None:
        """Write nothing any more; all sockets have been cut."""
        self._stop()

    def _work(self) -> None:
        """Write to the next row or to a few thin ones, and plan the rest."""
        self._stop()
        written = 0
        try:
            while self._queue and written * 2 < TURN:
                written += self._serve_first()
        finally:
            if self._queue:
                self._timer = self._loop.gevent.timer(SOON)
                self._timer.start(self._work)

    def _serve_first(self) -> int:
        """Serve a row of the first channel; after a round others have their turn."""
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

    def _serve(self, channel: Listeners) -> int:
        """Write to the next row what waits for it, and return the number of its sockets."""
        frames, bits, sockets, apart = channel.serve()
        size = len(sockets) + len(apart)
        for connection, (_, own) in apart.items():  # before any of them can end
            connection.sent -= own
        for connection, (theirs, _) in apart.items():
            self._write_to(connection, theirs)
        if sockets:
            self._write(sockets, frames, bits)
        return size

    def _give(self, connection: Connection) -> None:
        """Write to a socket what waits for it, before its row is served."""
        for channel in self._queue:
            theirs, own = channel.ahead(connection)
            connection.sent -= own
            self._write_to(connection, theirs)

    def _write_to(self, connection: Connection, each: Sequence[Frames]) -> None:
        if each:
            self._write((connection,), Frames.joined(each), connection.window_bits)

    def _write(self, connections: Sequence[Connection], frames: Frames, bits: int) -> None:
        """Write frames to sockets; where that fails, all are told before the next ones."""
        delivered = len(frames.messages) * len(connections)
        try:
            write_all(connections, frames[bits], frames if self._sheds else None)
        except Exception:
            log.exception("messages could not be delivered")
            self._failed()
        else:
            self._stats.delivered += delivered
