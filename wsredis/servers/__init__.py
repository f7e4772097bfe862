"""One small class for each kind of WSGI server; `server_for` chooses the class for a request."""

from __future__ import annotations

import logging
from typing import Any

from ..exceptions import HandshakeError
from .base import Detached, Server
from .sockets import Gunicorn, PyWSGI, SocketServer, buffered_reader, reader_socket
from .uwsgi import UWSGI

__all__ = ["OPENED", "Detached", "Server", "close_opened", "server_for"]

log = logging.getLogger("wsredis.servers")

OPENED = "wsgi.websocket"
"""The key of the environ for a websocket that the server has opened, as gevent-websocket does."""

OPENED_BY_SERVER = (
    "the server has answered the handshake itself, so wsredis cannot serve the websocket and closes"
    " it: use gunicorn's worker class gevent instead of GeventWebSocketWorker, or gevent.pywsgi"
    " without the handler_class of gevent-websocket"
)

NO_SOCKET = (
    "This WSGI server does not give access to its socket, so it cannot serve websockets. Use uWSGI,"
    " gunicorn (worker class gevent, gthread or sync), cheroot, gevent.pywsgi or, for development,"
    " Werkzeug."
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
        return Gunicorn(sock, environ.get("wsgi.input"))
    reader = buffered_reader(environ)
    if (sock := environ.get("werkzeug.socket")) is not None:
        return SocketServer(sock, reader)
    if (sock := reader_socket(reader)) is None:
        raise HandshakeError(501, NO_SOCKET)
    software = environ.get("SERVER_SOFTWARE", "")
    kind = PyWSGI if software.startswith(("gevent/", "gunicorn/")) else SocketServer
    return kind(sock, reader)


def close_opened(websocket: Any) -> list[bytes]:
    """Close a websocket that the server has opened, and return the body of a response to nobody.

    The client has got a 101, so no HTTP response can follow.
    """
    log.error(OPENED_BY_SERVER)
    try:
        websocket.close()
    except Exception as exc:  # the client may have disconnected
        log.info("the websocket that the server had opened could not be closed: %s", exc)
    return []
