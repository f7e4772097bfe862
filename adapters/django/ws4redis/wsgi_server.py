"""The WSGI application that serves this mode's websockets: `WebsocketWSGIServer`.

It stands alone in a process of its own, or beside Django behind a function that looks at the path.
What a handshake must fulfil is decided by the core; here is what a project may override.
"""

from __future__ import annotations

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
from .names import facility_of, websocket_url
from .proxy import name_host, require_own_host

__all__ = ["WebsocketWSGIServer"]

# A starter of only websockets imports nothing else of Django.
if not apps.ready and not apps.loading:
    django.setup()

MAX_TEXT = 200
"""Characters of a refusal that a project has worded."""


class _Gate(DjangoWebSocketMiddleware):
    """The adapter's gate, with requests as this mode makes them."""

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
    """A WSGI application of websockets (PEP 3333); every request to it must be one.

    Args:
        redis_connection: a client of redis-py that subscribers are given, for tests.

    Attributes:
        possible_channels: what a client may ask for.

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
        self._gate = _Gate(self)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        try:
            with _refusing():
                self.assure_protocol_requirements(environ)
            if facility_of(get_path_info(environ)) is None:
                raise Refused(404, f"Websockets live below {websocket_url()} here.")
        except Refused as refused:
            return answer(refused, start_response)
        name_host(environ)
        return self._gate(environ, start_response)

    @property
    def websockets(self) -> set[EndpointConnection]:
        """Return the websockets of this process that are open now."""
        return self._websockets

    def stats(self) -> dict[str, int]:
        """Return the counters of this process; see `wsredis.WebSocketMiddleware.stats`."""
        return self._gate.stats()

    def close(self) -> None:
        """End every websocket of this process; for tests."""
        self._gate.close()

    # What a subclass may override

    def assure_protocol_requirements(self, environ: dict[str, Any]) -> None:
        """Raise `HandshakeError` for what is no websocket; the rest is checked afterwards."""
        if (
            environ.get("REQUEST_METHOD") != "GET"
            or "websocket" not in environ.get("HTTP_UPGRADE", "").lower()
        ):
            raise HandshakeError(PLAIN)

    def process_request(self, request: Any) -> None:
        """Set ``request.session`` and ``request.user``; called unless a setting names another."""
        made = handshake_request(request.environ)
        if CLAIM in made.session and username(made) is None:
            made = handshake_request({**request.environ, "HTTP_COOKIE": ""})
        request.session, request.user = made.session, made.user
        if username(made) is not None:
            renew(made.session, made.user)

    def process_subscriptions(self, request: Any) -> tuple[list[str], bool]:
        """Return what the query string asks for, and whether ``echo`` is among it."""
        asked: dict[str, None] = {}
        echo = False
        for key in request.GET:
            word = key.strip().lower()
            if word in self.possible_channels:
                asked[word] = None
            echo = echo or word == "echo"
        return list(asked), echo

    # What the gate calls

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
        """Ask what is granted, and let a subscriber say which channels that means."""
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
    """Ask ``WS4REDIS_ALLOWED_CHANNELS``; without one everything is granted."""
    allowed = callback("WS4REDIS_ALLOWED_CHANNELS")
    if allowed is None:
        return requested
    with _refusing():
        return allowed(request, list(requested))


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn the refusals of a project's code into the core's, with the project's words."""
    try:
        yield
    except DjangoPermissionDenied as exc:
        raise PermissionDenied(_text(exc, "You may not have these channels.")) from exc
    except UpgradeRequiredError as exc:
        version = [("Sec-WebSocket-Version", "13")]
        raise Refused(426, _text(exc, "Websocket version 13 is supported."), version) from exc
    except HandshakeError as exc:
        raise Refused(400, _text(exc, PLAIN)) from exc


def _text(exc: Exception, default: str) -> str:
    """Return an exception's words as one short line, escaped though it is sent as plain text."""
    return escape(" ".join(str(exc).split())[:MAX_TEXT]) or default
