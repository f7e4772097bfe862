"""One small module for each kind of WSGI server; `server_for` knows which one a request is on."""

from __future__ import annotations

from typing import Any

from ..exceptions import HandshakeError
from .base import Detached, Server
from .sockets import Gunicorn, PyWSGI, SocketServer, python_socket
from .tls import is_tls
from .uwsgi import UWSGI

__all__ = ["Detached", "Server", "ends_tls", "server_for"]

NO_SOCKET = (
    "This WSGI server does not hand out its socket, so it cannot hold websockets: use uWSGI,"
    " gunicorn (worker class gevent or gthread), gevent.pywsgi or, for development, Werkzeug."
)

_UWSGI, _GUNICORN, _PYWSGI, _SOCKETSERVER = UWSGI(), Gunicorn(), PyWSGI(), SocketServer()


def server_for(environ: dict[str, Any]) -> Server:
    """Return how to deal with the server that made this environ.

    Raises:
        HandshakeError: 501 when it has no way to a socket; the text names servers that work.
    """
    if "uwsgi.version" in environ:
        return _UWSGI
    sock = python_socket(environ)
    if sock is None:
        raise HandshakeError(501, NO_SOCKET)
    if "gunicorn.socket" in environ:
        return _GUNICORN
    if "werkzeug.socket" in environ:
        return _SOCKETSERVER
    software = environ.get("SERVER_SOFTWARE", "")
    return _PYWSGI if software.startswith(("gevent/", "gunicorn/")) else _SOCKETSERVER


def ends_tls(environ: dict[str, Any]) -> bool:
    """Tell whether the server itself encrypts a request, so that its websocket needs a tunnel."""
    return "uwsgi.version" not in environ and is_tls(python_socket(environ))
