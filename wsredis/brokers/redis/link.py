"""One connection to Redis on the hub's loop: commands out, replies and pushes in.

A `Link` lives once: when it is lost it says so and a new one is made. The loop calls it when bytes
have come or can go; no greenlet wakes for a message, however many channels and sockets there are.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import gevent
from gevent.event import AsyncResult

from ...runtime.loop import NEXT_TURN, READ, WRITE
from .resp import Parser, Push, ReplyError, pack

__all__ = ["Answer", "Link", "LinkLost", "Pushed"]

READ_SIZE = 1 << 18
"""Bytes taken from Redis at once: what they hold is joined.

More than a TLS record holds (RFC 8446 section 5.1): nothing stays decrypted that no watcher sees.
"""

Answer = Callable[[Any], None]
"""Takes the reply to a command: a `ReplyError` if Redis refused, `LinkLost` if it is lost."""

_CONFIRMATIONS = (b"subscribe", b"unsubscribe")

Pushed = Callable[[list[tuple[bytes, bytes]]], Iterator[None]]
"""Takes (channel, payload) pairs; yields where others may have their turn."""

END = object()


class LinkLost(ReplyError):
    """The answer to a command that Redis has perhaps not got."""


class Socket(Protocol):
    """What a link needs of a socket, be it TCP, Unix or TLS."""

    def fileno(self) -> int: ...
    def recv_into(self, buffer: Any) -> int: ...
    def send(self, data: Any) -> int: ...
    def setblocking(self, flag: bool) -> None: ...


class Link:
    """RESP3 over a connected socket; made and used on one gevent loop.

    Args:
        sock: connected and greeted with HELLO 3; it becomes non-blocking and stays the caller's
            to close.
        deadline: seconds of silence after which the link counts as lost.
        pushed: takes what one read has brought. Nothing more is read before it is done.
        changed: takes keys that were read and have changed, at once; None for all there are.
    """

    def __init__(
        self,
        sock: Socket,
        deadline: float,
        pushed: Pushed,
        changed: Callable[[list[str] | None], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._deadline = deadline
        self._pushed = pushed
        self._changed = changed
        self._awaited: deque[tuple[int, bool, Answer]] = deque()
        self._lost: AsyncResult[None] = AsyncResult()
        self._parser = Parser()
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._work: Iterator[None] = iter(())
        self._out: list[bytes] = []
        self._rest = memoryview(b"")  # of what is being sent
        self._flushing = False
        self._asked_at: float | None = None  # when a silent Redis was sent a PING
        self._loop: Any = gevent.get_hub().loop
        self._heard_at = time.monotonic()  # the loop's time jumps with the machine's clock
        self._reader: Any = self._loop.io(sock.fileno(), READ)
        self._writer: Any = self._loop.io(sock.fileno(), WRITE)
        self._turn = self._loop.timer(NEXT_TURN)
        self._silence = self._loop.timer(deadline / 10, deadline / 10)

    def command(
        self, answer: Answer, *words: str | bytes | int, after_pushes: bool = False
    ) -> None:
        """Send a command; ``answer`` gets its reply. Commands are answered in order.

        With ``after_pushes`` every message that Redis sent before the reply has been delivered
        when ``answer`` is called. Otherwise replies do not keep messages from being joined.
        """
        # SUBSCRIBE and UNSUBSCRIBE are confirmed by one push for each channel and no reply.
        confirmations = len(words) - 1 if str(words[0]).endswith("SUBSCRIBE") else 0
        self._awaited.append((confirmations, after_pushes, answer))
        self._out.append(pack(*words))
        if not self._flushing:  # at the end of this turn, with what else it brings
            self._flushing = True
            self._loop.run_callback(self._flush)

    def serve(self) -> None:
        """Read until the link is lost; then fail every command that has no answer.

        Raises:
            OSError: the connection ended or Redis was silent for too long.
            ValueError, LookupError: what came is not the protocol of Redis.
        """
        self._reader.start(self._readable)
        self._silence.start(self._listen)
        try:
            self._lost.get()
        finally:
            for watcher in (self._reader, self._writer, self._turn, self._silence):
                watcher.stop()
                watcher.close()
            try:
                for _ in self._work:  # what has arrived whole goes to everybody
                    gevent.sleep(NEXT_TURN)
            finally:
                while self._awaited:
                    self._awaited.popleft()[2](LinkLost("the connection to Redis was lost"))

    def _fail(self, error: Exception) -> None:
        if not self._lost.ready():
            self._reader.stop()
            self._writer.stop()
            self._silence.stop()
            self._lost.set_exception(error)

    # In

    def _readable(self) -> None:
        try:
            size = self._sock.recv_into(self._buffer)
            if not size:
                raise ConnectionError("Redis closed the connection")
            replies = self._parser.feed(self._buffer[:size])
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except (OSError, ValueError) as exc:
            self._fail(exc)
            return
        self._heard_at, self._asked_at = time.monotonic(), None
        self._work = self._take(replies)
        self._go_on()

    def _go_on(self) -> None:
        """Take replies up to where others may have their turn."""
        try:
            ended = next(self._work, END) is END
        except (OSError, ValueError, LookupError) as exc:
            self._fail(exc)
            return
        if not ended:
            self._reader.stop()
            self._turn.start(self._go_on)
        elif not self._reader.active and not self._lost.ready():
            self._reader.start(self._readable)

    def _take(self, replies: list[Any]) -> Iterator[None]:
        pushed: list[tuple[bytes, bytes]] = []
        for reply in replies:
            if not isinstance(reply, Push):
                _, after_pushes, answer = self._awaited.popleft()
                if after_pushes and pushed:
                    yield from self._pushed(pushed)
                    pushed = []
                answer(reply)
            elif reply[0] == b"message":
                pushed.append((reply[1], reply[2]))
            elif reply[0] in _CONFIRMATIONS:
                left, after_pushes, answer = self._awaited.popleft()
                if left > 1:
                    self._awaited.appendleft((left - 1, after_pushes, answer))
                else:
                    answer(None)
            elif reply[0] == b"invalidate":
                self._changed(_keys(reply[1]))
        if pushed:
            yield from self._pushed(pushed)

    def _listen(self) -> None:
        """Ask a silent Redis whether it is there: a black-holed link raises nothing by itself.

        It is lost if it does not answer that, and not because this process was held up itself.
        """
        if not self._reader.active:
            return  # something may have come, but nobody reads at the moment
        self._readable()
        now = time.monotonic()
        if self._asked_at is None and now - self._heard_at >= self._deadline / 2:
            self._asked_at = now
            self.command(lambda reply: None, "PING")
        elif self._asked_at is not None and now - self._asked_at >= self._deadline / 2:
            self._fail(TimeoutError(f"Redis was silent for {self._deadline:g} s"))

    # Out

    def _flush(self) -> None:
        """Send what one turn has gathered, in one write."""
        if self._lost.ready():
            return  # and never again: what is left would call for another turn without end
        if not self._rest:
            self._rest = memoryview(b"".join(self._out))
            self._out.clear()
        try:
            while self._rest:
                self._rest = self._rest[self._sock.send(self._rest) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._writer.start(self._flush)
            return
        except OSError as exc:
            self._fail(exc)
            return
        self._writer.stop()
        self._flushing = bool(self._out)
        if self._out:
            self._loop.run_callback(self._flush)


def _keys(changed: Any) -> list[str] | None:
    """Return the keys that Redis says have changed; None for all, and for what is not valid."""
    if isinstance(changed, list) and all(isinstance(key, bytes) for key in changed):
        return [key.decode("utf-8", "replace") for key in changed]
    return None
