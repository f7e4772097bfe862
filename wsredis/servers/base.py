"""The interface to WSGI servers: taking over the socket, sending the 101, ending the request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .descriptor import ready
from .tls import Tunnel, is_tls

__all__ = ["Detached", "Headers", "Server", "detach", "peek"]

Headers = Iterable[tuple[str, str]]
StartResponse = Callable[..., Any]


class Detached:
    """A client's socket that was taken from its server and stays open after the request.

    Args:
        fd: the non-blocking descriptor; the owner of this object must close it.
        early: bytes that the client sent right after its handshake and that the server has read.
        tunnel: the TLS tunnel behind the descriptor, or None; to be started on the hub's loop.
    """

    __slots__ = ("early", "fd", "tunnel")

    def __init__(self, fd: int, early: bytes = b"", tunnel: Tunnel | None = None) -> None:
        self.fd = fd
        self.early = early
        self.tunnel = tunnel


class Server(Protocol):
    """One request on one kind of WSGI server.

    Attributes:
        ends_tls: whether the server terminates TLS itself, so that the websocket needs a tunnel.
    """

    @property
    def ends_tls(self) -> bool: ...

    def may_repeat_length(self, start_response: StartResponse) -> bool:
        """Return whether Content-Length may occur several times, of which the environ shows one."""

    def own_descriptors(self, start_response: StartResponse) -> int:
        """Return how many descriptors the server takes for its own connections before it stops.

        It is 0 for a server that waits when no descriptor is free.
        """

    def upgrade(self, start_response: StartResponse, headers: Headers) -> Detached:
        """Send the 101 and take the client's socket from the server.

        Raises:
            OSError: the client has disconnected.
        """

    def take(self, start_response: StartResponse) -> Detached:
        """Take the client's socket from the server before a response is sent."""

    def finish(self, start_response: StartResponse) -> Iterable[bytes]:
        """End the request so that the server sends nothing more; return the response body.

        It must not raise: code around the middleware would report an error of the application.
        """


def detach(sock: Any, early: bytes = b"") -> Detached:
    """Take the client's descriptor from a server's socket object."""
    if not is_tls(sock):
        return Detached(ready(sock.detach()), early)
    tunnel = Tunnel(sock)
    return Detached(ready(tunnel.fd), early, tunnel)


def peek(reader: Any, sock: Any) -> bytes:
    """Return the bytes that a buffered reader has already read, without waiting for more."""
    timeout = sock.gettimeout()
    sock.setblocking(False)
    try:
        held: bytes = reader.peek()
    except (OSError, ValueError):  # nothing was read; TLS raises its own errors
        held = b""
    finally:
        sock.settimeout(timeout)
    return held
