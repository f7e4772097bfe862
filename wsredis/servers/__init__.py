"""One small class for each kind of WSGI server; `server_for` chooses the class for a request."""

from __future__ import annotations

from typing import Any

from ..exceptions import HandshakeError
from .base import Detached, Server
from .sockets import Gunicorn, PyWSGI, SocketServer, buffered_reader, reader_socket
from .uwsgi import UWSGI

__all__ = ["Detached", "Server", "server_for"]

NO_SOCKET = (
    "This WSGI server does not give access to its socket, so it cannot serve websockets. Use uWSGI,"
    " gunicorn (worker class gevent or gthread), gevent.pywsgi or, for development, Werkzeug."
)

_UWSGI = UWSGI()


def server_for(environ: dict[str, Any]) -> Server:
    """Return the server object for a request's environ.

    Raises:
        HandshakeError: 501 if the server gives no access to its socket; the text names servers
            that do.
    """
    if "uwsgi.version" in environ:
        return _UWSGI
    if (sock := environ.get("gunicorn.socket")) is not None:
        return Gunicorn(sock, environ["wsgi.input"])
    reader = buffered_reader(environ)
    if (sock := environ.get("werkzeug.socket")) is not None:
        return SocketServer(sock, reader)
    if (sock := reader_socket(reader)) is None:
        raise HandshakeError(501, NO_SOCKET)
    software = environ.get("SERVER_SOFTWARE", "")
    kind = PyWSGI if software.startswith(("gevent/", "gunicorn/")) else SocketServer
    return kind(sock, reader)
