"""What a handshake needs of a WSGI server: the client's socket, the 101, the end of the request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .descriptor import ready
from .tls import Tunnel, is_tls

__all__ = ["Detached", "Headers", "Server", "peek", "switching_protocols", "take"]

Headers = Iterable[tuple[str, str]]
Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class Detached:
    """A client's socket that the hub may keep after the request has ended.

    Args:
        fd: the client's descriptor, non-blocking; it belongs to whoever holds this.
        early: what the client has sent right behind its handshake and the server has read.
        tunnel: what decrypts for the descriptor, or None; to be started on the hub's loop.
    """

    __slots__ = ("early", "fd", "tunnel")

    def __init__(self, fd: int, early: bytes = b"", tunnel: Tunnel | None = None) -> None:
        self.fd = fd
        self.early = early
        self.tunnel = tunnel


class Server(Protocol):
    """One request on one kind of WSGI server.

    Attributes:
        ends_tls: whether the server itself encrypts, so that the websocket needs a tunnel.
    """

    @property
    def ends_tls(self) -> bool: ...

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


def take(sock: Any, early: bytes = b"") -> Detached:
    """Take the client away from a server's socket object."""
    if not is_tls(sock):
        return Detached(ready(sock.detach()), early)
    tunnel = Tunnel(sock)
    return Detached(ready(tunnel.fd), early, tunnel)


def peek(reader: Any, sock: Any) -> bytes:
    """Return what a buffered reader holds already, without waiting for more."""
    timeout = sock.gettimeout()
    sock.setblocking(False)
    try:
        held: bytes = reader.peek()
    except (OSError, ValueError):  # nothing there; TLS says so in a way of its own
        held = b""
    finally:
        sock.settimeout(timeout)
    return held
