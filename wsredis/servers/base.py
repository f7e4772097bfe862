"""What the hub needs of a WSGI server: the client's socket, the 101, an end of the request."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

__all__ = ["Detached", "Headers", "Server", "peek", "ready", "swap", "switching_protocols"]

Headers = Iterable[tuple[str, str]]
Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class Detached:
    """Hold a client's socket that the hub may keep after the request has ended.

    Args:
        fd: the client's descriptor, non-blocking; it belongs to whoever holds this.
        early: what the client has sent right behind its handshake and the server has read.
    """

    __slots__ = ("early", "fd")

    def __init__(self, fd: int, early: bytes = b"") -> None:
        self.fd = fd
        self.early = early


class Server(Protocol):
    """Know one kind of WSGI server."""

    def upgrade(
        self, environ: Environ, start_response: StartResponse, headers: Headers
    ) -> Detached:
        """Send the 101 and take the client's socket away from the server.

        Raises:
            OSError: the client has gone.
        """

    def finish(self, start_response: StartResponse) -> Iterable[bytes]:
        """End the request so that the server sends nothing more.

        Return what the WSGI application returns, or raise what this server expects.
        """


def switching_protocols(headers: Headers) -> bytes:
    """Return the answer that ends the opening handshake (RFC 6455 section 4.2.2)."""
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    return ("HTTP/1.1 101 Switching Protocols\r\n" + "".join(lines) + "\r\n").encode("latin-1")


def ready(fd: int) -> int:
    """Make a socket's descriptor non-blocking and let small frames go at once."""
    os.set_blocking(fd, False)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=fd)
    with suppress(OSError):  # a Unix socket has no such option
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock.detach()


def swap(fd: int) -> int:
    """Return a copy of a descriptor and leave its number to a socket at its end of file.

    Whatever the server still does to its number, like a shutdown, no longer reaches the client.
    """
    copy = os.dup(fd)
    near, far = socket.socketpair()
    far.close()
    os.dup2(near.fileno(), fd)
    near.close()
    return copy


def peek(reader: Any, sock: Any) -> bytes:
    """Return what a buffered reader holds already, without waiting for more."""
    timeout = sock.gettimeout()
    sock.setblocking(False)
    try:
        held: bytes = reader.peek()
    except (BlockingIOError, ValueError):
        held = b""
    finally:
        sock.settimeout(timeout)
    return held
