"""The servers that show their socket in the environ: gunicorn, gevent.pywsgi, and those of
`socketserver` (Werkzeug, wsgiref, Django's runserver).

The 101 is written by us, then the descriptor leaves the server's socket object: some of these
servers shut a socket down when the request ends, and that must not reach the client.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

from .base import (
    Detached,
    Environ,
    Headers,
    StartResponse,
    peek,
    switching_protocols,
    take,
)
from .descriptor import ready, swap
from .tls import is_tls

__all__ = ["Gunicorn", "PyWSGI", "SocketServer", "python_socket"]


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


def python_socket(environ: Environ) -> Any:
    """Return the server's socket object, or None where it shows none."""
    sock = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return sock or getattr(getattr(buffered_reader(environ), "raw", None), "_sock", None)


def _gone() -> BrokenPipeError:
    """Return what these servers take as the quiet end of a client."""
    return BrokenPipeError(errno.EPIPE, "the websocket has left the request")


class Gunicorn:
    """Detach from gunicorn's gevent and gthread workers."""

    def upgrade(
        self, environ: Environ, start_response: StartResponse, headers: Headers
    ) -> Detached:
        sock = python_socket(environ)
        sock.sendall(switching_protocols(headers))
        return take(sock)

    def finish(self, start_response: StartResponse) -> Iterable[bytes]:
        raise _gone()


class PyWSGI:
    """Detach from gevent.pywsgi, also as gunicorn's worker class."""

    def upgrade(
        self, environ: Environ, start_response: StartResponse, headers: Headers
    ) -> Detached:
        reader = buffered_reader(environ)
        sock = python_socket(environ)
        sock.sendall(switching_protocols(headers))
        early = peek(reader, sock)
        handler: Any = getattr(start_response, "__self__", None)
        if is_tls(sock) and handler is not None:
            handler.socket = None  # or it would close what is below the TLS
        return take(sock, early)

    def finish(self, start_response: StartResponse) -> Iterable[bytes]:
        handler: Any = getattr(start_response, "__self__", None)
        if handler is not None:
            handler.status = "101 Switching Protocols"  # for its access log
        raise _gone()


class SocketServer:
    """Detach from a `socketserver`: Werkzeug, wsgiref, Django's runserver, threaded or not.

    Such a server goes on reading its own number, where it finds the end of file.
    """

    def upgrade(
        self, environ: Environ, start_response: StartResponse, headers: Headers
    ) -> Detached:
        reader = buffered_reader(environ)
        sock = python_socket(environ)
        sock.sendall(switching_protocols(headers))
        early = peek(reader, sock) if reader is not None else b""
        if is_tls(sock):
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
