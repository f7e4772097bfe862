"""Servers whose socket can be found in the environ: gunicorn, gevent.pywsgi, and those based on
`socketserver` (Werkzeug, wsgiref, Django's runserver).

wsredis writes the 101 and takes the descriptor from the server's socket object, as some of these
servers shut down the socket when the request ends, which must not affect the websocket.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from ..protocol.http import SWITCHING_PROTOCOLS, http_head
from ..runtime.loop import in_gevent
from .base import Detached, Headers, StartResponse, detach, peek
from .descriptor import ready, swap
from .tls import is_tls

__all__ = ["Gunicorn", "PyWSGI", "SocketServer", "buffered_reader", "reader_socket"]

WORKER_CONNECTIONS = 1000
"""gunicorn's default, for a ``start_response`` that does not lead to its options."""


def buffered_reader(environ: dict[str, Any]) -> Any:
    """Return the buffered reader below ``wsgi.input``, or None.

    pywsgi has it in ``rfile``, Django's runserver behind the bound method ``_read``.
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


@lru_cache(maxsize=8)
def _disconnected(kind: type) -> type:
    """Return the class for a server's socket object whose descriptor was taken.

    Writes of the server fail as if the client had disconnected, which all of these servers handle
    silently. An exception raised by the middleware would end the request as well, but error
    trackers around the middleware would report it.
    """

    def send(*args: Any) -> int:
        raise BrokenPipeError(errno.EPIPE, "the websocket has left the request")

    return type(kind.__name__, (kind,), {"__slots__": (), "send": send, "sendall": send})


class PythonServer:
    """A request on a server that gives access to its socket.

    Args:
        sock: the server's socket object.
        reader: the buffered reader on top of it, if it is known.
    """

    __slots__ = ("_reader", "_sock", "ends_tls")

    def __init__(self, sock: Any, reader: Any = None) -> None:
        self._sock = sock
        self._reader = reader
        self.ends_tls = is_tls(sock)

    def may_repeat_length(self, start_response: StartResponse) -> bool:
        handler = getattr(start_response, "__self__", None)  # not in Werkzeug, nor if it is wrapped
        headers = getattr(getattr(handler, "request_handler", handler), "headers", None)
        return headers is None or len(headers.get_all("Content-Length", ())) > 1

    def own_descriptors(self, start_response: StartResponse) -> int:
        return 0

    def upgrade(self, start_response: StartResponse, headers: Headers) -> Detached:
        self._sock.sendall(http_head(SWITCHING_PROTOCOLS, headers))
        return self.take(start_response)

    def take(self, start_response: StartResponse) -> Detached:
        sock, reader = self._sock, self._reader
        client = detach(sock, b"" if reader is None else peek(reader, sock))
        if not self.ends_tls:
            sock.__class__ = _disconnected(type(sock))  # type: ignore[arg-type]
        return client

    def finish(self, start_response: StartResponse) -> Iterable[bytes]:
        """Give the server a response for its access log, which it can no longer send."""
        start_response(SWITCHING_PROTOCOLS, [])
        return []


class Gunicorn(PythonServer):
    """A request on gunicorn's gevent, gthread and sync workers.

    Args:
        sock: the server's socket object.
        body: the ``wsgi.input``, if it is known.
    """

    __slots__ = ("_body",)

    def __init__(self, sock: Any, body: Any = None) -> None:
        super().__init__(sock)
        self._body = body

    def may_repeat_length(self, start_response: StartResponse) -> bool:
        return False  # gunicorn refuses such a request

    def take(self, start_response: StartResponse) -> Detached:
        client = super().take(start_response)
        unreader: Any = getattr(getattr(self._body, "reader", None), "unreader", None)
        if unreader is not None and unreader.buf.getvalue():
            # This empties the buffer, which gunicorn would else take for the next request.
            client.early = unreader.read()
        return client

    def own_descriptors(self, start_response: StartResponse) -> int:
        """Return ``worker_connections`` for gthread, which ends if it cannot accept as many.

        The sync worker accepts one connection at a time.
        """
        if in_gevent():
            return 0
        options = getattr(getattr(start_response, "__self__", None), "cfg", None)
        if str(getattr(options, "worker_class_str", "")).endswith(("sync", "SyncWorker")):
            return 0
        own: int = getattr(options, "worker_connections", WORKER_CONNECTIONS)
        return own


class PyWSGI(PythonServer):
    """A request on gevent.pywsgi, including its use as gunicorn's worker class."""

    __slots__ = ()

    def finish(self, start_response: StartResponse) -> Iterable[bytes]:
        handler: Any = getattr(start_response, "__self__", None)
        if not hasattr(handler, "close_connection"):  # start_response is wrapped
            return super().finish(start_response)
        handler.status = SWITCHING_PROTOCOLS  # for its access log
        handler.response_headers = []  # for gunicorn's access log
        handler.headers_sent = True
        handler.close_connection = True
        return []


class SocketServer(PythonServer):
    """A request on a `socketserver`: Werkzeug, wsgiref, Django's runserver, threaded or not.

    Such a server continues to read from its own descriptor, where it finds the end of file.
    """

    __slots__ = ()

    def take(self, start_response: StartResponse) -> Detached:
        if self.ends_tls:
            return super().take(start_response)
        sock, reader = self._sock, self._reader
        early = b"" if reader is None else peek(reader, sock)
        return Detached(ready(swap(sock.fileno())), early)

    def finish(self, start_response: StartResponse) -> Iterable[bytes]:
        handler: Any = getattr(start_response, "__self__", None)
        if not hasattr(handler, "request_handler"):
            return super().finish(start_response)
        # wsgiref's handler ends silently if the headers are marked as sent.
        handler.status = SWITCHING_PROTOCOLS
        handler.headers_sent = True
        handler.request_handler.close_connection = True
        return []
