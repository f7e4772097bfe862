"""A middleware on a server in this process, with threads or greenlets, and the memory broker."""

from __future__ import annotations

import itertools
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.pywsgi import WSGIServer as PyWSGIServer
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from werkzeug.serving import WSGIRequestHandler, make_server

from wsredis import Config, Publisher, WebSocketMiddleware

__all__ = ["HANDSHAKE", "Gate", "page", "status"]

HANDSHAKE = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/ws/news",
    "QUERY_STRING": "subscribe-broadcast",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "example.com",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
    "wsgi.url_scheme": "http",
}
"""The environ of a good handshake, without a socket."""


class Quiet(WSGIRequestHandler):
    def log(self, *args: Any) -> None:
        """Say nothing."""


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the page " + environ["PATH_INFO"].encode()]


_names = itertools.count()


class Gate:
    """A middleware on a server in this process."""

    def __init__(self, kind: str, app: Any, **options: Any) -> None:
        self.config = Config(redis=f"memory://{next(_names)}", close_timeout=0.3)
        self.middleware = WebSocketMiddleware(app, config=self.config, **options)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=getattr(self, f"_{kind}"), daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    def _threads(self) -> None:
        self._server: Any = make_server(
            "127.0.0.1", 0, self.middleware, threaded=True, request_handler=Quiet
        )
        self.port = self._server.server_port
        self.stop = self._stop_threads
        self._ready.set()
        self._server.serve_forever(poll_interval=0.01)

    def _stop_threads(self) -> None:
        self.middleware.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)

    def _greenlets(self) -> None:
        server = PyWSGIServer(("127.0.0.1", 0), self.middleware, log=None)
        server.start()
        self.port = server.server_port
        loop, ended = gevent.get_hub().loop, gevent.event.Event()
        self.stop = lambda: (loop.run_callback_threadsafe(ended.set), self._thread.join(30))
        self._ready.set()
        ended.wait()
        gevent.spawn(self.middleware.close).join()
        server.stop()
        gevent.get_hub().destroy()

    @property
    def endpoint(self) -> Any:
        """Return the endpoint of the only websocket."""
        process: Any = self.middleware._process
        (subscriber,) = process.hub.subscribers()
        return subscriber.endpoint

    def connect(
        self, path: str, max_size: int | None = 2**20, max_queue: int = 16, **headers: str
    ) -> ClientConnection:
        return connect(
            f"ws://127.0.0.1:{self.port}{path}",
            max_size=max_size,
            max_queue=max_queue,
            additional_headers={key.replace("_", "-"): value for key, value in headers.items()},
            open_timeout=30,
            close_timeout=5,
        )

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def publisher(self, facility: str = "news", **audience: Any) -> Publisher:
        return Publisher(facility, config=self.config, **(audience or {"broadcast": True}))


def status(refused: pytest.ExceptionInfo[InvalidStatus]) -> tuple[int, str]:
    response = refused.value.response
    return response.status_code, bytes(response.body or b"").decode()
