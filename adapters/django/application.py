"""The middleware around a Django site: requests below the prefix become websockets.

It adapts Django's settings, requests and signals to the core's `WebSocketMiddleware`, which checks
the handshakes.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost, SuspiciousOperation
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.handlers.wsgi import get_script_name
from django.core.signals import request_finished, request_started, setting_changed
from django.core.wsgi import get_wsgi_application
from django.http import Http404
from django.urls import set_script_prefix, set_urlconf

from wsredis.access.policy import AllowedChannels
from wsredis.asgi.scope import ADDED
from wsredis.endpoints import EndpointContext, PubSubEndpoint
from wsredis.exceptions import ConfigurationError, HandshakeError, PermissionDenied
from wsredis.handshake.target import path_of
from wsredis.identity import Identity, check_resolver
from wsredis.middleware import NO_ASGI, WebSocketMiddleware, WSGIApp
from wsredis.runtime.loop import in_gevent

from ..options import has_all
from .asgi_checks import process_layers
from .conf import Options, options
from .identity import limited
from .request import handshake_request
from .signals import announced

__all__ = ["DjangoWebSocketMiddleware", "get_websocket_application"]

log = logging.getLogger("wsredis.adapters.django")

OPTIONS = "wsredis.django.options"
REQUEST = "wsredis.django.request"

UNPATCHED = (
    "All requests of this gevent worker share one database connection and its transactions:"
    " monkey-patch with gevent before Django is loaded (uWSGI: --gevent-early-monkey-patch)."
)


IN_MEMORY = (
    "CHANNEL_LAYERS[%r] is in memory, but this server has several processes: messages reach only"
    " the consumers of the process that sends them. Use wsredis.layers.RedisChannelLayer."
)

DISALLOWED_HOST = (
    "The Host of this request is not in ALLOWED_HOSTS. Add it there, or configure the proxy to"
    " forward the Host header."
)


def get_websocket_application(app: WSGIApp | None = None) -> DjangoWebSocketMiddleware:
    """Return the WSGI application of a Django site with websockets, for wsgi.py.

    Args:
        app: the WSGI application that answers all other requests; by default
            ``get_wsgi_application()``.

    Raises:
        ConfigurationError: the setting ``WSREDIS`` is not valid.
    """
    return DjangoWebSocketMiddleware(get_wsgi_application() if app is None else app)


class DjangoWebSocketMiddleware:
    """A wrapper around a WSGI application, with the options, users and sessions of Django.

    It belongs in wsgi.py, not in ``MIDDLEWARE``. The settings are read for each handshake.
    ``identity``, ``allowed_channels`` and ``endpoint`` get Django's `HttpRequest`; its host must be
    one of ``ALLOWED_HOSTS``. The signals ``request_started`` and ``request_finished`` are sent
    before and after a handshake, so database and cache connections are closed as after a page.

    Args:
        app: the WSGI application that answers all requests outside the prefix; with None they are
            answered with 404.
        load: a function that returns the options; by default those of ``WSREDIS``.

    Raises:
        ConfigurationError: an option is not valid.
    """

    made = False
    """Whether this process has made one, perhaps inside other wrappers; read by `.checks`."""

    def __init__(self, app: WSGIApp | None, load: Callable[[], Options] = options) -> None:
        self.app = app
        self._load = load
        self._lock = threading.Lock()
        self._gates: list[WebSocketMiddleware] = []
        self._looked = False
        now = load()
        check_resolver(now.identity, now.config)
        gate = self._gate(now)
        self._prefix: str | None = gate.config.prefix
        self._may_host = gate.may_host
        setting_changed.connect(self._forget)
        DjangoWebSocketMiddleware.made = True

    def __call__(
        self, environ: dict[str, Any], start_response: Any = None, *asgi: Any
    ) -> Iterable[bytes]:
        """Answer one request (PEP 3333).

        Raises:
            ConfigurationError: the caller is an ASGI server.
        """
        if start_response is None or asgi:
            raise ConfigurationError(NO_ASGI)
        path = environ.get("PATH_INFO", "")
        if path[:1] != "/":
            path = path_of(path)
        if (
            self.app is not None
            and self._prefix
            and not path.startswith(self._prefix)
            and not (self._may_host and "HTTP_UPGRADE" in environ)
        ):
            app = self._gates[0] if self._may_host else self.app
            return app(environ, start_response)
        now = self._load()
        gate = self._gate(now)
        self._prefix, self._may_host = gate.config.prefix, gate.may_host
        if not gate.serves(environ, path):
            return gate(environ, start_response)
        if settings.USE_X_FORWARDED_HOST and (host := environ.get("HTTP_X_FORWARDED_HOST")):
            environ["HTTP_HOST"] = host  # the core compares the origin of a page with it
        environ[OPTIONS] = now
        self._look(environ, now)
        set_script_prefix(get_script_name(environ))
        set_urlconf(settings.ROOT_URLCONF)
        request_started.send(sender=type(self), environ=environ)
        try:
            return gate(environ, start_response)
        finally:
            environ.pop(REQUEST, None)
            request_finished.send(sender=type(self))

    def _forget(self, **changed: Any) -> None:
        """Read the settings again at the next request, because tests override them."""
        self._prefix = None

    def _look(self, environ: dict[str, Any], now: Options) -> None:
        """Warn once of what does not work on this server."""
        if self._looked:
            return
        self._looked = True
        # Django takes all greenlets for one thread; without pages there are no transactions.
        pages = self.app is not None and in_gevent()
        if pages and not sys.modules["gevent.monkey"].is_module_patched("threading"):
            log.warning(UNPATCHED)
        hosts = now.asgi is not None or now.routes is not None
        if hosts and environ.get("wsgi.multiprocess"):
            for name in process_layers():
                log.warning(IN_MEMORY, name)

    def _gate(self, now: Options) -> WebSocketMiddleware:
        """Return the core's middleware for these options; only tests ever need more than one."""
        if self._gates and self._is_for(self._gates[0], now):
            return self._gates[0]
        with self._lock:
            alone = has_all(now.asgi, now.endpoint, now.config)
            gate = next((old for old in self._gates if self._is_for(old, now)), None)
            gate = gate or WebSocketMiddleware(
                self.app,
                config=now.config,
                identity=self._identify,
                endpoint=None if alone else self._endpoint,
                asgi=now.asgi,
                routes=now.routes,
            )
            others = [old for old in self._gates if old is not gate]
            busy = [old for old in others if old.stats()["connections"]]
            self._gates = [gate, *busy]
        for old in others:
            if old not in busy:
                old.close()
        return gate

    @staticmethod
    def _is_for(gate: WebSocketMiddleware, now: Options) -> bool:
        return gate.config == now.config and (gate.asgi, gate.routes) == (now.asgi, now.routes)

    def _identify(self, request: Any) -> Identity | None:
        """Return the identity for the `webob.Request` that the core has made."""
        environ = request.environ
        with _translated():
            django_request = environ[REQUEST] = handshake_request(environ)
            django_request.get_host()
            options = environ[OPTIONS]
            if options.asgi is not None or options.routes is not None:
                # So that Channels does not load the session again; consumers have no middleware.
                environ[ADDED] = {"session": django_request.session}
                if options.routes is not None:
                    environ[ADDED] |= {
                        "user": django_request.user,
                        "cookies": django_request.COOKIES,
                    }
            identity = environ[OPTIONS].identity(django_request)
            return limited(identity, django_request.session) if identity else identity

    def _endpoint(self, request: Any, context: EndpointContext) -> Any:
        """Return the site's endpoint, made with Django's request."""
        now: Options = request.environ[OPTIONS]
        django_request = request.environ[REQUEST]
        django_request.identity = request.identity
        context = replace(context, allowed_channels=_translating(now.allowed_channels))
        with _translated():
            endpoint = (now.endpoint or PubSubEndpoint)(django_request, context)
        return announced(endpoint, request.identity, context.facility)

    def stats(self) -> dict[str, int]:
        """Return the counters of this process; see `WebSocketMiddleware.stats`."""
        return self._gate(self._load()).stats()

    def close(self) -> None:
        """Close all websockets of this process; for tests."""
        for gate in self._gates:
            gate.close()


@contextmanager
def _translated() -> Iterator[None]:
    """Translate the exceptions with which Django code refuses a request into those of wsredis."""
    try:
        yield
    except DjangoPermissionDenied as exc:
        raise PermissionDenied from exc
    except Http404 as exc:
        raise HandshakeError(404, "There is no websocket at this address.") from exc
    except DisallowedHost as exc:
        raise HandshakeError(400, DISALLOWED_HOST) from exc
    except SuspiciousOperation as exc:
        raise HandshakeError(400, "This request was rejected as suspicious.") from exc


def _translating(policy: AllowedChannels) -> AllowedChannels:
    def ask(request: Any, requested: tuple[str, ...]) -> Iterable[str]:
        with _translated():
            return policy(request, requested)

    return ask
