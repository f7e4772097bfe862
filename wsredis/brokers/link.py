"""One connection to Redis on the hub's loop: commands out, replies and pushes in.

A `Link` lives once: when it is lost it says so and a new one is made. Two greenlets serve it, one
that reads and one that writes, however many channels and sockets there are.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent.event import Event
from gevent.socket import wait_read, wait_write

from .resp import Parser, Push, ReplyError, pack

__all__ = ["Answer", "Link"]

READ_SIZE = 1 << 18
"""Bytes taken from Redis at once: what they hold is joined."""

Answer = Callable[[Any], None]
"""Takes the reply to a command: a `ReplyError` if Redis refused or the link was lost."""

_CONFIRMATIONS = (b"subscribe", b"unsubscribe")


class Socket(Protocol):
    """What a link needs of a socket, be it TCP, Unix or TLS."""

    def fileno(self) -> int: ...
    def recv_into(self, buffer: Any) -> int: ...
    def send(self, data: Any) -> int: ...
    def setblocking(self, flag: bool) -> None: ...


class Link:
    """Speak RESP3 over a connected socket.

    Args:
        sock: connected and greeted with HELLO 3; it becomes non-blocking and stays the caller's
            to close.
        deadline: seconds of silence after which the link counts as lost.
        pushed: takes the (channel, payload) pairs of what one read has brought.
    """

    def __init__(
        self, sock: Socket, deadline: float, pushed: Callable[[list[tuple[bytes, bytes]]], None]
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._deadline = deadline
        self._pushed = pushed
        self._awaited: deque[tuple[int, bool, Answer]] = deque()
        self._out: list[bytes] = []
        self._write_wanted = Event()
        self._writer = gevent.spawn(self._write)

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
        self._write_wanted.set()

    def serve(self) -> None:
        """Read until the link is lost; then fail every command that has no answer.

        Raises:
            OSError: the connection ended or Redis was silent for too long.
            ValueError: Redis does not speak its protocol.
        """
        parser = Parser()
        buffer = memoryview(bytearray(READ_SIZE))
        try:
            while True:
                size = self._read(buffer)
                if not size:
                    raise ConnectionError("Redis closed the connection")
                self._take(parser.feed(buffer[:size]))
                gevent.sleep(1e-6)  # Redis may bring more than we can take for ever
        finally:
            self._writer.kill()
            while self._awaited:
                self._awaited.popleft()[2](ReplyError("the connection to Redis was lost"))

    def _take(self, replies: list[Any]) -> None:
        pushed: list[tuple[bytes, bytes]] = []
        for reply in replies:
            if not isinstance(reply, Push):
                _, after_pushes, answer = self._awaited.popleft()
                if after_pushes and pushed:
                    self._pushed(pushed)
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
        if pushed:
            self._pushed(pushed)

    def _read(self, buffer: memoryview) -> int:
        """Read what is there; a black-holed link raises nothing by itself, hence the PING."""
        asked = False
        while True:
            try:
                return self._sock.recv_into(buffer)
            except (BlockingIOError, ssl.SSLWantReadError):
                try:
                    wait_read(self._sock.fileno(), timeout=self._deadline / 2)
                except TimeoutError:
                    if asked:
                        raise TimeoutError(f"Redis was silent for {self._deadline:g} s") from None
                    asked = True
                    self.command(lambda reply: None, "PING")

    def _write(self) -> None:
        """Send what one turn has gathered in one piece."""
        while True:
            self._write_wanted.wait()
            self._write_wanted.clear()
            data = memoryview(b"".join(self._out))
            self._out.clear()
            while data:
                try:
                    data = data[self._sock.send(data) :]
                except (BlockingIOError, ssl.SSLWantWriteError):
                    wait_write(self._sock.fileno())
                except OSError:
                    return  # the reader notices too, and ends the link
