"""The WSGI application that serves the websockets of ws4redis: `WebsocketWSGIServer`.

It runs in its own process, or beside Django in one process, where a function chooses by path. The
core checks the handshakes; this module has the methods that a project may override.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.apps import apps
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.handlers.wsgi import WSGIRequest, get_path_info
from django.utils.html import escape

from wsredis.access.policy import granted
from wsredis.adapters.django.application import OPTIONS, REQUEST, DjangoWebSocketMiddleware
from wsredis.adapters.django.conf import Options
from wsredis.adapters.django.identity import CLAIM
from wsredis.adapters.django.request import handshake_request, nobody
from wsredis.endpoints import EndpointConnection, EndpointContext
from wsredis.exceptions import HandshakeError as Refused
from wsredis.exceptions import PermissionDenied
from wsredis.handshake.refusal import answer
from wsredis.handshake.upgrade import PLAIN
from wsredis.identity import Identity

from . import settings
from .configuration import callback, current_config, subscriber_class
from .connection import Recording, client
from .endpoint import SubscriberEndpoint
from .exceptions import HandshakeError, UpgradeRequiredError
from .groups import renew
from .identity import identity_of, username
from .names import facility_of, reserved_prefix, websocket_url
from .proxy import name_host, require_own_host

__all__ = ["WebsocketWSGIServer"]

log = logging.getLogger("wsredis.ws4redis")

# The WSGI file of a process for websockets only imports nothing else of Django.
if not apps.ready and not apps.loading:
    django.setup()

MAX_TEXT = 200
"""The maximum length, in characters, of the text with which a project refuses a handshake."""


class _Gate(DjangoWebSocketMiddleware):
    """The adapter's middleware, with requests made by the server's methods."""

    def __init__(self, server: WebsocketWSGIServer) -> None:
        self._server = server
        super().__init__(None, load=server._options)

    def _identify(self, request: Any) -> Identity | None:
        environ = request.environ
        if "HTTP_ORIGIN" in environ and environ[OPTIONS].config.origins is None:
            require_own_host(environ)
        django_request = environ[REQUEST] = self._server._request(environ)
        return identity_of(django_request)


class WebsocketWSGIServer:
    """A WSGI application (PEP 3333) for websockets only.

    Args:
        redis_connection: the redis-py client that subscribers get; for tests.

    Attributes:
        possible_channels: the keys that a client may request.

    Raises:
        ImproperlyConfigured: a setting names something that cannot be imported.
        ConfigurationError: a setting is not valid.
    """

    Subscriber: Any = settings.Fresh(lambda server: subscriber_class())
    possible_channels: Any = settings.Fresh(
        lambda server: _possible(subscriber_class() if server is None else server.Subscriber)
    )

    def __init__(self, redis_connection: Any = None) -> None:
        self._redis_connection = redis_connection
        self._websockets: set[EndpointConnection] = set()
        subscriber_class()
        callback("WS4REDIS_ALLOWED_CHANNELS")
        callback("WS4REDIS_PROCESS_REQUEST")
        if (reserved := reserved_prefix()) is not None:
            log.warning("%s Use another prefix.", reserved)
        self._gate = _Gate(self)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        try:
            with _refusing():
                self.assure_protocol_requirements(environ)
            if facility_of(get_path_info(environ)) is None:
                raise Refused(404, f"The websockets of this site are below {websocket_url()}.")
        except Refused as refused:
            return answer(refused, start_response, environ)
        name_host(environ)
        return self._gate(environ, start_response)

    @property
    def websockets(self) -> set[EndpointConnection]:
        """Return the open websockets of this process."""
        return self._websockets

    def stats(self) -> dict[str, int]:
        """Return the counters of this process; see `wsredis.WebSocketMiddleware.stats`."""
        return self._gate.stats()

    def close(self) -> None:
        """Close all websockets of this process; for tests."""
        self._gate.close()

    # What a subclass may override

    def assure_protocol_requirements(self, environ: dict[str, Any]) -> None:
        """Raise `HandshakeError` for a request that is no handshake; the core checks the rest."""
        if (
            environ.get("REQUEST_METHOD") != "GET"
            or "websocket" not in environ.get("HTTP_UPGRADE", "").lower()
        ):
            raise HandshakeError(PLAIN)

    def process_request(self, request: Any) -> None:
        """Set ``request.session`` and ``request.user``, if WS4REDIS_PROCESS_REQUEST is not set."""
        made = handshake_request(request.environ)
        if CLAIM in made.session and username(made) is None:
            made = handshake_request({**request.environ, "HTTP_COOKIE": ""})
        request.session, request.user = made.session, made.user
        if username(made) is not None:
            renew(made.session, made.user)

    def process_subscriptions(self, request: Any) -> tuple[list[str], bool]:
        """Return the keys that the query string requests, and whether it has ``echo``."""
        asked: dict[str, None] = {}
        echo = False
        for key in request.GET:
            word = key.strip().lower()
            if word in self.possible_channels:
                asked[word] = None
            echo = echo or word == "echo"
        return list(asked), echo

    # What the middleware calls

    def _options(self) -> Options:
        return Options(current_config(), endpoint=self._endpoint)

    def _request(self, environ: dict[str, Any]) -> Any:
        """Return the request of a handshake; it always has a user and a session."""
        request: Any = WSGIRequest(environ)
        request.session = request.user = None
        with _refusing():
            process = callback("WS4REDIS_PROCESS_REQUEST")
            (process or self.process_request)(request)
        if request.user is None:
            request.user = nobody()
        if request.session is None:
            request.session = handshake_request({**environ, "HTTP_COOKIE": ""}).session
        return request

    def _endpoint(self, request: Any, context: EndpointContext) -> SubscriberEndpoint:
        """Return the endpoint, with the channels that are granted."""
        with _refusing():
            asked, echo = self.process_subscriptions(request)
            channels = list(granted(_policy, request, tuple(asked)))
            connection = self._redis_connection
            subscriber = self.Subscriber(Recording(client() if connection is None else connection))
            subscriber.set_pubsub_channels(request, channels)
            return SubscriberEndpoint(subscriber, echo, self._websockets)


def _possible(subscriber: Any) -> list[str]:
    return [*subscriber.subscription_channels, *subscriber.publish_channels]


def _policy(request: Any, requested: tuple[str, ...]) -> Iterable[str]:
    """Return what ``WS4REDIS_ALLOWED_CHANNELS`` grants; everything if it is not set."""
    allowed = callback("WS4REDIS_ALLOWED_CHANNELS")
    if allowed is None:
        return requested
    with _refusing():
        return allowed(request, list(requested))


@contextmanager
def _refusing() -> Iterator[None]:
    """Translate a project's refusals into the core's, with the text of the project."""
    try:
        yield
    except DjangoPermissionDenied as exc:
        raise PermissionDenied(_text(exc, "The site does not allow this websocket.")) from exc
    except UpgradeRequiredError as exc:
        version = [("Sec-WebSocket-Version", "13")]
        raise Refused(426, _text(exc, "Only websocket version 13 is supported."), version) from exc
    except HandshakeError as exc:
        raise Refused(400, _text(exc, PLAIN)) from exc


def _text(exc: Exception, default: str) -> str:
    """Return the text of an exception as one short line, escaped although it is plain text."""
    return escape(" ".join(str(exc).split())[:MAX_TEXT]) or default
