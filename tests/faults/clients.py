"""Clients of one site in one thread, which record the received numbers and close codes.

They behave correctly: they answer pings and close frames, and reconnect when they were
disconnected. Their records are checked in `checker`.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Self

from ..servers.support import HOST, SECONDS, eventually
from ..servers.wire import CLOSE, PING, PONG, TEXT, frame

__all__ = ["Client", "Crowd", "Session"]

READ_SIZE = 1 << 18
PAUSE = 0.05
"""Seconds before a client comes back."""

ABNORMAL = 1006
"""Stands for an end without a close frame (RFC 6455 section 7.1.5)."""


@dataclass
class Session:
    """The record of one websocket.

    Attributes:
        begun: the last number whose publishing had begun when it was opened.
        opened, ended: when, in monotonic seconds.
        numbers: the received numbers.
        code: the close code, None while it is open.
    """

    begun: int
    opened: float
    ended: float = 0.0
    numbers: list[int] = field(default_factory=list)
    code: int | None = None


class Client:
    """A client, with one socket after the other.

    Attributes:
        sessions: the records of its sockets, in order.
        silent: whether it does not answer pings.
    """

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.sessions: list[Session] = []
        self.silent = False
        self.socket: socket.socket | None = None
        self.is_open = False
        self._held = b""

    @property
    def last(self) -> int:
        """Return the last number it has heard, 0 for none."""
        heard = (s.numbers[-1] for s in reversed(self.sessions) if s.numbers)
        return next(heard, 0)

    def begin(self, sock: socket.socket) -> None:
        self.socket = sock
        self.is_open = False
        self._held = b""

    def take(self, data: bytes, begun: Callable[[], int]) -> int:
        """Take what has come; return the status of an answer that was complete with it, else 0."""
        self._held += data
        status = 0
        if not self.is_open:
            head, end, rest = self._held.partition(b"\r\n\r\n")
            if not end:
                return 0
            status = int(head.split(None, 2)[1])
            if status != 101:
                return status
            self._held = rest
            self.is_open = True
            self.sessions.append(Session(begun(), time.monotonic()))
        while (found := self._frame()) is not None:
            self._heard(*found)
        return status

    def _frame(self) -> tuple[int, bytes] | None:
        held = self._held
        if len(held) < 2:
            return None
        size, start = held[1], 2
        if size == 126:
            size, start = int.from_bytes(held[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(held[2:10], "big"), 10
        if len(held) < start + size:
            return None
        self._held = held[start + size :]
        return held[0] & 0x0F, held[start : start + size]

    def _heard(self, opcode: int, payload: bytes) -> None:
        assert self.socket is not None
        if opcode == TEXT:
            self.sessions[-1].numbers.append(int(payload.split(None, 1)[0]))
        elif opcode == PING and not self.silent:
            self.socket.send(frame(PONG, payload))
        elif opcode == CLOSE:
            self.sessions[-1].code = int.from_bytes(payload[:2], "big")
            self.socket.send(frame(CLOSE, payload[:2]))

    def end(self) -> None:
        """Note that the socket has ended."""
        if self.is_open:
            session = self.sessions[-1]
            session.ended = time.monotonic()
            session.code = session.code or ABNORMAL
        self.is_open = False
        self.socket = None


class Crowd:
    """Clients that run until the end of a `with` block.

    Args:
        port: the port of the site.
        target: path and query of the websockets.
        count: the number of clients.
        begun: returns the last number whose publishing has begun.
        back: whether they reconnect when they have lost their socket.
        users: names they share; none is anonymous.

    Attributes:
        refused: the number of responses other than 101, by status; 0 is no response.
    """

    def __init__(
        self,
        port: int,
        target: str,
        count: int,
        *,
        begun: Callable[[], int] = lambda: 0,
        back: bool = True,
        users: Iterable[str] = (),
    ) -> None:
        self.refused: Counter[int] = Counter()
        self.target = target
        self._port = port
        self._begun = begun
        self._back = back
        names = itertools.cycle(list(users) or [""])
        self.clients = [Client(_request(port, target, next(names))) for _ in range(count)]
        self._due = [(0.0, number) for number in range(count)]
        self._selector = selectors.DefaultSelector()
        self._near, self._far = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="crowd")
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self._selector.register(self._near, selectors.EVENT_READ, None)
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._far.close()
        self._thread.join(SECONDS)
        self._near.close()
        for client in self.clients:
            if client.socket is not None:
                client.socket.close()
        self._selector.close()
        if self._error is not None and error is None:
            raise self._error

    # What a test asks

    @property
    def open(self) -> int:
        """Return how many have a websocket at the moment."""
        return sum(client.is_open for client in self.clients)

    def wait(self, what: Callable[[Client], object], text: str, seconds: float = SECONDS) -> None:
        """Wait until something is so for each of them."""

        def all_of_them() -> bool:
            if self._error is not None:
                raise self._error
            return all(map(what, self.clients))

        eventually(all_of_them, text, seconds)

    def wait_open(self, seconds: float = SECONDS) -> None:
        self.wait(lambda client: client.is_open, "all are connected", seconds)

    def wait_for(self, number: int, seconds: float = SECONDS) -> None:
        self.wait(lambda client: client.last >= number, f"all have heard {number}", seconds)

    # What they do

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:
            self._error = error

    def _turn(self) -> bool:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            self._connect(heapq.heappop(self._due)[1])
        wait = self._due[0][0] - now if self._due else None
        for key, events in self._selector.select(wait):
            if key.data is None:
                return False
            client = self.clients[key.data]
            if client.socket is None:
                continue
            if events & selectors.EVENT_WRITE:
                self._selector.modify(client.socket, selectors.EVENT_READ, key.data)
                if client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self._lost(key.data)
                else:
                    client.socket.send(client.request)
            else:
                self._read(key.data, client, client.socket)
        return True

    def _connect(self, number: int) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex((HOST, self._port))
        self.clients[number].begin(sock)
        self._selector.register(sock, selectors.EVENT_WRITE, number)

    def _read(self, number: int, client: Client, sock: socket.socket) -> None:
        try:
            data = sock.recv(READ_SIZE)
            status = client.take(data, self._begun) if data else 0
        except OSError:
            data, status = b"", 0
        if not data or status not in (0, 101):
            self._lost(number, status)

    def _lost(self, number: int, status: int = 0) -> None:
        client = self.clients[number]
        assert client.socket is not None
        if not client.is_open:
            self.refused[status] += 1
        self._selector.unregister(client.socket)
        client.socket.close()
        client.end()
        if self._back:
            heapq.heappush(self._due, (time.monotonic() + PAUSE, number))


def _request(port: int, target: str, user: str) -> bytes:
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {HOST}:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    lines += [f"X-User: {user}"] if user else []
    return "\r\n".join([*lines, "\r\n"]).encode()
