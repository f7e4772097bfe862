"""One connection to Redis on the hub's loop: it sends commands and receives replies and pushes.

A `Link` is not reused: when it is lost, a new one is made. The loop calls it when the socket is
readable or writable; no greenlet is woken for a message.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import gevent
from gevent.event import AsyncResult

from ...runtime.loop import NEXT_TURN, READ, WRITE
from .resp import Parser, Push, ReplyError, pack

__all__ = ["Answer", "Link", "LinkLost", "Pushed"]

READ_SIZE = 1 << 18
"""Bytes read from Redis at once; their messages are delivered together.

This is more than a TLS record has (RFC 8446 section 5.1), so that no decrypted bytes stay buffered
in the TLS object, where no watcher notices them.
"""

Answer = Callable[[Any], None]
"""Takes the reply to a command: a `ReplyError` for an error, `LinkLost` if the link was lost."""

_CONFIRMATIONS = (b"subscribe", b"unsubscribe")

Pushed = Callable[[list[tuple[bytes, bytes]]], Iterator[None]]
"""Takes (channel, payload) pairs; yields so that other work can run."""

END = object()


class LinkLost(ReplyError):
    """The reply to a command that Redis may not have received."""


class Socket(Protocol):
    """The socket methods that a link uses; TCP, Unix and TLS sockets have them."""

    def fileno(self) -> int: ...
    def recv_into(self, buffer: Any) -> int: ...
    def send(self, data: Any) -> int: ...
    def setblocking(self, flag: bool) -> None: ...


class Link:
    """RESP3 over a connected socket; made and used on one gevent loop.

    Args:
        sock: a connected socket after HELLO 3; it is made non-blocking, and the caller closes it.
        deadline: seconds of silence after which the link counts as lost.
        pushed: takes the messages of one read; the link reads again when it has finished.
        changed: takes the keys that Redis reports as changed, immediately; None for all keys.

    Attributes:
        heard_at: time of the last complete reply or push, in monotonic seconds.
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
        self._rest = memoryview(b"")  # the unsent rest of the current write
        self._flushing = False
        self._asked_at: float | None = None  # time of the PING to a silent Redis
        self._loop: Any = gevent.get_hub().loop
        self.heard_at = time.monotonic()  # not the loop's time, which follows clock changes
        self._reader: Any = self._loop.io(sock.fileno(), READ)
        self._writer: Any = self._loop.io(sock.fileno(), WRITE)
        self._turn = self._loop.timer(NEXT_TURN)
        self._silence = self._loop.timer(deadline / 10, deadline / 10)

    def command(
        self, answer: Answer, *words: str | bytes | int, after_pushes: bool = False
    ) -> None:
        """Send a command; ``answer`` gets its reply. Replies come in the order of the commands.

        With ``after_pushes``, all messages that Redis sent before the reply are delivered before
        ``answer`` is called. Without it, messages before and after the reply are delivered
        together.
        """
        # SUBSCRIBE and UNSUBSCRIBE have no reply, but one push for each channel.
        confirmations = len(words) - 1 if str(words[0]).endswith("SUBSCRIBE") else 0
        self._awaited.append((confirmations, after_pushes, answer))
        self._out.append(pack(*words))
        if not self._flushing:  # at the end of this iteration, with its other commands
            self._flushing = True
            self._loop.run_callback(self._flush)

    def commands(self, answers: Sequence[Answer], data: bytes) -> None:
        """Send several packed commands; each answer gets the reply to one of them, in order.

        The messages that Redis sent before the last reply are delivered before the last answer is
        called, as with ``after_pushes``.
        """
        self._awaited.extend([(0, False, answer) for answer in answers[:-1]])
        self._awaited.append((0, True, answers[-1]))
        self._out.append(data)
        if not self._flushing:
            self._flushing = True
            self._loop.run_callback(self._flush)

    def is_silent_since(self, heard_at: float) -> bool:
        """Return whether Redis has sent nothing since then, although this process has looked.

        Args:
            heard_at: an earlier value of ``heard_at``.
        """
        if self._reader.active:
            self._readable()
        return self._reader.active and self.heard_at == heard_at

    def serve(self) -> None:
        """Read until the link is lost; then fail all commands without a reply.

        Raises:
            OSError: the connection ended or Redis was silent for too long.
            ValueError, LookupError: the received bytes violate the protocol of Redis.
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
                for _ in self._work:  # deliver all messages that have arrived completely
                    gevent.sleep(NEXT_TURN)
            finally:
                while self._awaited:
                    self._awaited.popleft()[2](LinkLost("the connection was lost"))

    def end(self, error: OSError) -> None:
        """Count as lost, for a reason that the link cannot notice itself."""
        self._fail(error)

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
        if replies:  # a reply without an end is no sign of life
            self.heard_at, self._asked_at = time.monotonic(), None
        self._work = self._take(replies)
        self._go_on()

    def _go_on(self) -> None:
        """Handle replies until other work of the loop may run."""
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
        """Send a PING to a silent Redis, as a black-holed connection raises no error by itself.

        The link counts as lost if the PING is not answered, but not because this process was
        blocked itself.
        """
        if not self._reader.active:
            return  # there may be unread bytes
        self._readable()
        now = time.monotonic()
        if self._asked_at is None and now - self.heard_at >= self._deadline / 2:
            self._asked_at = now
            self.command(lambda reply: None, "PING")
        elif self._asked_at is not None and now - self._asked_at >= self._deadline / 2:
            self._fail(TimeoutError(f"Redis was silent for {self._deadline:g} s"))

    # Out

    def _flush(self) -> None:
        """Send the commands of one iteration in one write."""
        if self._lost.ready():
            return  # else the unsent commands would schedule this again without end
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
    """Return the keys that Redis reports as changed; None for all keys, or if it is not valid."""
    if isinstance(changed, list) and all(isinstance(key, bytes) for key in changed):
        return [key.decode("utf-8", "replace") for key in changed]
    return None
