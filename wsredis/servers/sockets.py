"""The servers that show their socket in the environ: gunicorn, gevent.pywsgi, and those of
`socketserver` (Werkzeug, wsgiref, Django's runserver).

The 101 is written by us, then the descriptor leaves the server's socket object: some of these
servers shut a socket down when the request ends, and that must not reach the client.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

from .base import Detached, Environ, Headers, StartResponse, peek, switching_protocols, take
from .descriptor import ready, swap
from .tls import is_tls

__all__ = ["Gunicorn", "PyWSGI", "SocketServer", "buffered_reader", "reader_socket"]


def buffered_reader(environ: Environ) -> Any:
    """Return the buffered reader below ``wsgi.input``, or None.

    pywsgi keeps it in ``rfile``, Django's runserver behind the bound method ``_read``.
    """
    stream: Any = environ.get("wsgi.input")
    for candidate in (
        stream,
        getattr(stream, "rfile", None),
        getattr(getattr(stream, "_read", None), "__self__", None),
        getattr(stream, "_stream", None),
    ):
        if hasattr(getattr(candidate, "raw", None), "_sock"):
            return candidate
    return None


def reader_socket(reader: Any) -> Any:
    """Return the server's socket object below a buffered reader, or None."""
    return getattr(getattr(reader, "raw", None), "_sock", None)


def _gone() -> BrokenPipeError:
    """Return what these servers take as the quiet end of a client."""
    return BrokenPipeError(errno.EPIPE, "the websocket has left the request")


class PythonServer:
    """A request on a server that shows its socket.

    Args:
        sock: the server's socket object.
        reader: the buffered reader over it, if it is known.
    """

    __slots__ = ("_reader", "_sock", "ends_tls")

    def __init__(self, sock: Any, reader: Any = None) -> None:
        self._sock = sock
        self._reader = reader
        self.ends_tls = is_tls(sock)


class Gunicorn(PythonServer):
    """A request on gunicorn's gevent and gthread workers."""

    __slots__ = ()

    def upgrade(
        self, environ: Environ, start_response: StartResponse, headers: Headers
    ) -> Detached:
        self._sock.sendall(switching_protocols(headers))
        return take(self._sock)

    def finish(self, start_response: StartResponse) -> Iterable[bytes]:
        raise _gone()


class PyWSGI(PythonServer):
    """A request on gevent.pywsgi, also as gunicorn's worker class."""

    __slots__ = ()

    def upgrade(
        self, environ: Environ, start_response: StartResponse, headers: Headers
    ) -> Detached:
        sock = self._sock
        sock.sendall(switching_protocols(headers))
        early = peek(self._reader, sock)
        handler: Any = getattr(start_response, "__self__", None)
        if self.ends_tls and handler is not None:
            handler.socket = None  # or it would close what is below the TLS
        return take(sock, early)

    def finish(self, start_response: StartResponse) -> Iterable[bytes]:
        handler: Any = getattr(start_response, "__self__", None)
        if handler is not None:
            handler.status = "101 Switching Protocols"  # for its access log
        raise _gone()


class SocketServer(PythonServer):
    """A request on a `socketserver`: Werkzeug, wsgiref, Django's runserver, threaded or not.

    Such a server goes on reading its own number, where it finds the end of file.
    """

    __slots__ = ()

    def upgrade(
        self, environ: Environ, start_response: StartResponse, headers: Headers
    ) -> Detached:
        sock, reader = self._sock, self._reader
        sock.sendall(switching_protocols(headers))
        early = peek(reader, sock) if reader is not None else b""
        if self.ends_tls:
            return take(sock, early)
        return Detached(ready(swap(sock.fileno())), early)

    def finish(self, start_response: StartResponse) -> Iterable[bytes]:
        handler: Any = getattr(start_response, "__self__", None)
        if not hasattr(handler, "request_handler"):
            # Werkzeug writes this into its log, and then to a client that has gone. An error would
            # be taken for one by its debugger.
            start_response("101 Switching Protocols", [])
            return []
        # wsgiref's handler: let it believe that the answer is out, and it ends in silence.
        handler.status = "101 Switching Protocols"
        handler.headers_sent = True
        handler.request_handler.close_connection = True
        return []
