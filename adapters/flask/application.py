"""The gate around a Flask application: requests below the prefix become websockets.

It knows how Flask's configuration, contexts and errors meet the core's `WebSocketMiddleware`; what
a handshake must fulfil is decided there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import flask
from werkzeug.exceptions import HTTPException

from wsredis.config import Config
from wsredis.drain import install_signals
from wsredis.endpoints import EndpointContext
from wsredis.exceptions import HandshakeError, PermissionDenied
from wsredis.identity import Identity
from wsredis.middleware import WebSocketMiddleware

from .conf import Options, read_options
from .identity import HANDSHAKE, NO_SECRET, has_sessions, who

__all__ = ["FlaskWebSocketMiddleware"]

log = logging.getLogger("wsredis.adapters.flask")


class FlaskWebSocketMiddleware:
    """A wrapper around the ``wsgi_app`` of a Flask application; `WSRedis` puts it there.

    The options are those that ``app.config`` has when the first request comes. The callbacks run in
    a request context of Flask, of which no view and no ``before_request`` function is called;
    teardown functions are.

    Args:
        app: the application, of which every request outside the prefix is answered as before.
    """

    def __init__(self, app: flask.Flask) -> None:
        self.app = app.wsgi_app
        self._flask = app
        self._lock = threading.Lock()
        self._options: Options | None = None
        self._gate: WebSocketMiddleware | None = None
        install_signals()  # only the main thread may, and the first request may be in another

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        gate = self._ready()
        try:
            return gate(environ, start_response)
        finally:
            context = environ.pop(HANDSHAKE, None)
            if context is not None and flask.has_request_context():
                context.pop(None)  # what ends the request on some servers is no error

    def _ready(self) -> WebSocketMiddleware:
        """Return the core's middleware, made when it is first needed."""
        with self._lock:
            if self._gate is None:
                options = self.options
                if options.identity is None and not has_sessions(self._flask):
                    log.warning("%s", NO_SECRET)
                self._gate = WebSocketMiddleware(
                    self.app,
                    config=options.config,
                    identity=self._identify,
                    endpoint=self._endpoint,
                )
            return self._gate

    @property
    def options(self) -> Options:
        """Return the options, read at the first use.

        Raises:
            ConfigurationError: one is unknown, is not valid or cannot be imported.
        """
        if self._options is None:
            self._options = read_options(self._flask)
        return self._options

    @property
    def config(self) -> Config:
        """Return the options of the core."""
        return self.options.config

    def _identify(self, request: Any) -> Identity:
        """Resolve the identity of the `webob.Request` that the core has made."""
        context = self._flask.request_context(request.environ)
        request.environ[HANDSHAKE] = context
        context.push()
        with _translated():
            _ = context.request.host  # refuses one that is not in TRUSTED_HOSTS
            return who(context.request)

    def _endpoint(self, request: Any, context: EndpointContext) -> Any:
        """Make the site's endpoint with Flask's request."""
        flask_request = request.environ[HANDSHAKE].request
        flask_request.identity = request.identity
        policy = _translated()(self.options.allowed_channels)
        with _translated():
            return self.options.endpoint(flask_request, replace(context, allowed_channels=policy))

    def stats(self) -> dict[str, int]:
        """Return the counters of this process; see `WebSocketMiddleware.stats`."""
        return self._ready().stats()

    def close(self) -> None:
        """End every websocket of this process; for tests."""
        self._ready().close()


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what ``abort`` raises into ours; without its description, which is for a page."""
    try:
        yield
    except HTTPException as exc:
        if exc.code is None or exc.code < 400:
            raise PermissionDenied from exc
        raise HandshakeError(exc.code, f"{exc.name}.") from exc
