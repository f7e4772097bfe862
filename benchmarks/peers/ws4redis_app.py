"""django-websocket-redis 0.6 on uWSGI's gevent loop, as its documentation deploys it.

Four things are patched, only to make it run: the wheel of uWSGI has no SSL, so it cannot answer a
handshake itself; newer versions of Django have no `_headers`; redis-py has a limit of 100
connections, and here each websocket uses one; gevent's `select` accepts no descriptor above 1,023.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

import gevent.select
import gevent.socket
import redis.connection
import uwsgi
from django.conf import settings

settings.configure(
    SECRET_KEY="not used",
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "ws4redis"],
    WEBSOCKET_URL="/ws/",
    WS4REDIS_EXPIRE=0,
    WS4REDIS_CONNECTION={
        "host": "127.0.0.1",
        "port": int(os.environ["REDIS_PORT"]),
        "max_connections": 20000,
    },
)
redis.connection.socket = gevent.socket

from django.http import HttpResponseBase  # noqa: E402
from ws4redis.uwsgi_runserver import uWSGIWebsocket, uWSGIWebsocketServer  # noqa: E402

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def upgrade(self: Any, environ: dict[str, Any], start_response: Any) -> uWSGIWebsocket:
    key = environ["HTTP_SEC_WEBSOCKET_KEY"].encode() + GUID
    accept = base64.b64encode(hashlib.sha1(key).digest())
    os.write(
        uwsgi.connection_fd(),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n",
    )
    return uWSGIWebsocket()


def select(self: Any, rlist: list[int], wlist: object, xlist: object, timeout: float) -> Any:
    poll = gevent.select.poll()
    for fd in rlist:
        poll.register(fd, gevent.select.POLLIN)
    return [fd for fd, _ in poll.poll(timeout * 1000)], [], []


uWSGIWebsocketServer.upgrade_websocket = upgrade
uWSGIWebsocketServer.select = select
HttpResponseBase._headers = property(lambda self: {k: (k, v) for k, v in self.items()})
application = uWSGIWebsocketServer()
