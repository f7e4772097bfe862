"""A proxy between a site and its Redis that can break in all the ways a network does."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

from wsredis.embedded import free_port

__all__ = ["Proxy"]

HOST = "127.0.0.1"
SECONDS = 30.0


class Proxy:
    """A proxy that forwards or drops bytes, resets or refuses connections, or changes its target.

    A connection that has lost bytes stays silent forever, as with a dropped route.

    Args:
        target: port on this machine.

    Attributes:
        pause: the delay of each chunk of bytes, in seconds.
        port: where it listens; below the range of outgoing connections, else a client that retries
            while it refuses could be connected to itself.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.pause = 0.0
        self._target = target
        self._over = threading.Event()
        self._swallows = threading.Event()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.accept()

    # What a network does

    def hole(self) -> None:
        """Swallow everything from now on."""
        self._swallows.set()

    def heal(self) -> None:
        """Let connections that are made from now on be good ones."""
        self._swallows.clear()

    def reset(self) -> None:
        """Reset every connection."""
        with self._lock:
            ending, self._open = self._open, []
        for one in ending:
            _reset(one)

    def refuse(self) -> None:
        """Refuse new connections until `accept`."""
        assert self._listener is not None
        _hang_up(self._listener)
        self._listener = None

    def accept(self) -> None:
        """Take new connections again."""
        self._listener = socket.create_server((HOST, self.port), backlog=128)
        self._run(self._accept, self._listener)

    def lead_to(self, target: int) -> None:
        """Lead new connections to another port."""
        self._target = target

    def close(self) -> None:
        self._over.set()
        if self._listener is not None:
            self.refuse()
        self.reset()
        for thread in self._threads:
            thread.join(SECONDS)

    # How

    def _run(self, function: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=function, args=args, name="proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((HOST, self._target))
            except OSError:
                _reset(near)
                continue
            with self._lock:
                self._open += near, far
            broken = threading.Event()
            self._run(self._pump, near, far, broken)
            self._run(self._pump, far, near, broken)

    def _pump(self, source: socket.socket, sink: socket.socket, broken: threading.Event) -> None:
        try:
            while data := source.recv(65536):
                if self.pause:
                    self._over.wait(self.pause)
                if self._swallows.is_set():
                    broken.set()
                if not broken.is_set():
                    sink.sendall(data)
        except OSError:
            pass
        finally:
            if not broken.is_set():
                for one in (source, sink):
                    _shut(one)


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _hang_up(sock: socket.socket) -> None:
    """Close a socket that another thread may be waiting for."""
    _shut(sock)
    sock.close()


def _reset(sock: socket.socket) -> None:
    """Close with a reset; whoever waits for it wakes, as reading is shut down without a word."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    try:
        sock.shutdown(socket.SHUT_RD)
    except OSError:
        pass
    sock.close()
