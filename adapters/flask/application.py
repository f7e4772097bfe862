"""The middleware around a Flask application: requests below the prefix become websockets.

It adapts Flask's configuration, contexts and errors to the core's `WebSocketMiddleware`, which
checks the handshakes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import flask
from werkzeug.exceptions import HTTPException

from wsredis.asgi.scope import ADDED
from wsredis.config import Config, claim, release
from wsredis.drain import install_signals
from wsredis.endpoints import EndpointContext, PubSubEndpoint
from wsredis.exceptions import HandshakeError, PermissionDenied
from wsredis.identity import Identity, check_resolver
from wsredis.middleware import WebSocketMiddleware

from ..options import has_all
from .conf import Options, read_config, read_options
from .identity import HANDSHAKE, NO_SECRET, has_sessions, who

__all__ = ["FlaskWebSocketMiddleware"]

log = logging.getLogger("wsredis.adapters.flask")


class FlaskWebSocketMiddleware:
    """A wrapper around the ``wsgi_app`` of a Flask application; `WSRedis` puts it there.

    The options are those of ``app.config`` at the first request. The callbacks run in a request
    context of Flask. No view and no ``before_request`` function is called for it, but teardown
    functions are.

    Args:
        app: the application, which answers all requests outside the prefix as before.
        routes: routes in addition to those of ``app.config``.

    Raises:
        ConfigurationError: an option of ``app.config`` is unknown or is not valid.
    """

    def __init__(self, app: flask.Flask, routes: Sequence[Any] = ()) -> None:
        self.app = app.wsgi_app
        self._flask = app
        self._routes = routes
        self._lock = threading.Lock()
        self._options: Options | None = None
        self._gate: WebSocketMiddleware | None = None
        claim(self, read_config(app))
        install_signals()  # works only in the main thread; the first request may be in another

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
                context.pop(None)  # the exception that ends a request on some servers is no error

    def _ready(self) -> WebSocketMiddleware:
        """Return the core's middleware, made at the first use."""
        with self._lock:
            if self._gate is None:
                options = self.options
                if options.identity is None and not has_sessions(self._flask):
                    log.warning("%s", NO_SECRET)
                check_resolver(options.identity, options.config)
                alone = has_all(options.asgi, options.endpoint, options.config)
                self._gate = WebSocketMiddleware(
                    self.app,
                    config=options.config,
                    identity=self._identify,
                    endpoint=None if alone else self._endpoint,
                    asgi=options.asgi,
                    routes=_joined(self._routes, options.routes),
                )
                release(self)  # that claims the options from now on
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
        """Return the identity for the `webob.Request` that the core has made."""
        context = self._flask.request_context(request.environ)
        request.environ[HANDSHAKE] = context
        context.push()
        with _translated():
            _ = context.request.host  # raises an error if the host is not in TRUSTED_HOSTS
            if self._gate is not None and self._gate.routes is not None:
                request.environ[ADDED] = {"session": dict(flask.session)}
            return who(context.request)

    def _endpoint(self, request: Any, context: EndpointContext) -> Any:
        """Return the site's endpoint, made with Flask's request."""
        flask_request = request.environ[HANDSHAKE].request
        flask_request.identity = request.identity
        policy = _translated()(self.options.allowed_channels)
        endpoint = self.options.endpoint or PubSubEndpoint
        with _translated():
            return endpoint(flask_request, replace(context, allowed_channels=policy))

    @property
    def is_ready(self) -> bool:
        """Return whether a request has been answered, after which no route can be added."""
        return self._gate is not None

    def stats(self) -> dict[str, int]:
        """Return the counters of this process; see `WebSocketMiddleware.stats`."""
        return self._ready().stats()

    def close(self) -> None:
        """Close all websockets of this process; for tests."""
        self._ready().close()


def _joined(added: Sequence[Any], given: Any) -> Any:
    """Return the routes of the decorator and those of ``app.config``; None for none.

    A path is not imported, as its module may need the application.
    """
    if not added or given is None:
        return [*added] or given
    return [*added, *(given if isinstance(given, list | tuple) else [given])]


@contextmanager
def _translated() -> Iterator[None]:
    """Translate what ``abort`` raises, without its description, which is HTML."""
    try:
        yield
    except HTTPException as exc:
        if exc.code is None or exc.code < 400:
            raise PermissionDenied from exc
        raise HandshakeError(exc.code, f"{exc.name}.") from exc
