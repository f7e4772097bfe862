"""The WSGI middleware: requests below the prefix become websockets, others go to the wrapped app.

This is the composition root: it connects all packages and runs the steps of a handshake in order.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from .access.policy import AllowedChannels, check_channels, default_policy
from .asgi.endpoint import AsgiEndpoint
from .asgi.lending import lent
from .brokers import Broker, broker_for
from .config import Config, base_config, claim, release
from .deprecated import Statistics
from .destinations import Destination, Destinations
from .drain import install_signals
from .endpoints import Endpoint, EndpointContext, EndpointFactory, PubSubEndpoint
from .exceptions import BrokerUnavailable, ConfigurationError, HandshakeError, PermissionDenied
from .handshake.client_files import client_file
from .handshake.refusal import SERVER_ERROR, answer, asked, warn
from .handshake.request import Request
from .handshake.target import path_of, split_target
from .handshake.upgrade import REPEATED_LENGTH, Handshake, facility_of, read_handshake
from .hub.hub import Hub
from .identity import (
    ANONYMOUS,
    CONFIG,
    Identity,
    IdentityResolver,
    anonymous,
    check_resolver,
)
from .process import Process, process_for
from .protocol.http import RETRY_SOON
from .proxies import client_address
from .runtime.loop import Loop, TimeLimit
from .runtime.watchdog import LIMIT, check_handshake
from .servers import OPENED, Detached, Server, close_opened, server_for
from .transports.websocket import WebSocket

if TYPE_CHECKING:
    from .asgi.loop import AsyncioLoop

__all__ = ["WebSocketMiddleware"]

log = logging.getLogger("wsredis.middleware")

TOO_LONG = "Identifying the client took too long; try again."
TAKEN = "wsredis.taken"

NO_APP = (
    "A request outside %s gets 404, as the middleware has no application (app is None). If this"
    " process is to serve pages, pass the application; a function that makes it must return it."
)

NO_ASGI = (
    "An ASGI server has called this application, which is a WSGI application: start it with uWSGI,"
    ' gunicorn (pip install "gunicorn[gevent]", gunicorn -k gevent) or gevent.pywsgi instead of'
    " uvicorn, daphne, hypercorn or granian. It serves websockets without ASGI."
)


WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WebSocketMiddleware:
    """A wrapper around a WSGI application that serves websockets on the same server and port.

    ::

        from wsredis import WebSocketMiddleware
        application = WebSocketMiddleware(application)

    Args:
        app: the application that gets every request outside the prefix; None for a process that
            only serves websockets and responds with 404 to all other requests.
        config: the options; by default those set with `wsredis.configure`, else those of the
            framework, else the environment.
        identity: identifies the client of a request; by default every client is anonymous.
        allowed_channels: returns which of the requested channels are granted; by default every
            subscription and no publishing.
        broker: carries the messages; by default the one that ``config.redis`` names.
        endpoint: makes the endpoint of a websocket; by default `PubSubEndpoint`.
        asgi: an ASGI 3 application, or its path such as ``mysite.asgi.application``, for the
            websockets below ``asgi_prefix``.
        routes: consumers, endpoints and ASGI applications by paths: a list such as
            ``[("ws/chat/<slug:room>/", ChatConsumer)]``, a router, or its path.
        **options: fields of `Config` that override ``config``.

    The options of the first middleware also apply to a `Publisher` of this process that is given
    none, unless `wsredis.configure` or a framework has set them.

    Raises:
        ConfigurationError: an option is unknown or not valid, or an argument is not callable.
    """

    def __init__(
        self,
        app: WSGIApp | None,
        *,
        config: Config | None = None,
        identity: IdentityResolver | None = None,
        allowed_channels: AllowedChannels | None = None,
        broker: Broker | None = None,
        endpoint: EndpointFactory | None = None,
        asgi: Any = None,
        routes: Any = None,
        **options: Any,
    ) -> None:
        _check_callable("app", app, "the WSGI application itself, or None", may_be_class=True)
        _check_callable("identity", identity, "a function, or an object like RemoteUserResolver()")
        _check_callable("allowed_channels", allowed_channels, "a function (request, requested)")
        _check_callable("endpoint", endpoint, "a class like PubSubEndpoint", may_be_class=True)
        given: object = config
        if given is not None and not isinstance(given, Config):
            kind = type(given).__name__
            raise ConfigurationError(f"config is a {kind}: write config=Config(...).")
        self.app = app
        self.config = Config.make(base_config() if config is None else config, **options)
        self.broker = broker if broker is not None else broker_for(self.config)
        self.resolver = identity if identity is not None else anonymous
        self._policy = allowed_channels if allowed_channels is not None else default_policy
        self.asgi = asgi
        self.routes = routes
        self._destinations = Destinations(self.config, endpoint, asgi, routes, PubSubEndpoint)
        self.may_host = asgi is not None or routes is not None
        self._process: Process | None = None
        self._warned = False
        check_resolver(self.resolver, self.config)
        claim(self, self.config)
        install_signals()

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
        if path.startswith(self.config.prefix) or (self.may_host and "HTTP_UPGRADE" in environ):
            try:
                destination: Destination | None = self._destinations.endpoint
                if self.may_host:
                    destination = self._destinations.find(environ, path)
                if destination is not None:
                    return self._accept(environ, start_response, destination)
            except HandshakeError as refused:
                if self.config.serve_client:
                    found = client_file(environ, self.config.prefix, start_response)
                    if found is not None:
                        return found
                client = client_address(environ, self.config.trusted_proxies)
                log.info("refused %d client=%s: %s", refused.status, client, refused.text)
                warn(refused, asked(environ), client)
                return answer(refused, start_response, environ)
        if self.app is None:
            if not self._warned:
                self._warned = True
                log.warning(NO_APP, self.config.prefix)
            where = f"Only websockets are served here, below {self.config.prefix}"
            return answer(HandshakeError(404, where), start_response, environ)
        if self.may_host and (loop := self._asyncio_loop()) is not None:
            return lent(loop, self.app, environ, start_response)
        return self.app(environ, start_response)

    def _asyncio_loop(self) -> AsyncioLoop | None:
        """Return the asyncio loop of this process, if it has one already."""
        process = self._process
        if process is None or process.closed or process.pid != os.getpid():
            return None
        return process.asyncio

    def serves(self, environ: dict[str, Any], path: str) -> bool:
        """Return whether this object answers a request itself, without the WSGI application.

        Args:
            environ: that of the request.
            path: its path, as the server has decoded it.
        """
        if path.startswith(self.config.prefix):
            return True
        if not self.may_host or "HTTP_UPGRADE" not in environ:
            return False
        try:
            return self._destinations.find(environ, path) is not None
        except HandshakeError:
            return True

    def _accept(
        self,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
        destination: Destination,
    ) -> Iterable[bytes]:
        """Turn a request into a websocket; errors are HTTP responses only until the 101 is sent.

        Args:
            environ: that of the request.
            start_response: that of the request.
            destination: what handles the websocket.
        """
        since = time.monotonic()
        if TAKEN in environ:  # for example, an outer middleware retries the request
            raise HandshakeError(400, "This request has already become a websocket.")
        if OPENED in environ and environ[OPENED] is not None:
            return close_opened(environ[OPENED])
        if environ["PATH_INFO"][:1] != "/" or (
            "RAW_URI" in environ and environ["RAW_URI"][:1] != "/"
        ):
            split_target(environ)
        server = server_for(environ)
        environ[CONFIG] = self.config
        request = Request(environ)
        request.client_address = client_address(environ, self.config.trusted_proxies)
        handshake = read_handshake(request, self.config)
        # wsgiref sets an empty one if there is none.
        length = "CONTENT_LENGTH" in environ and environ["CONTENT_LENGTH"]
        if length and server.may_repeat_length(start_response):
            raise HandshakeError(400, REPEATED_LENGTH)
        facility = facility_of(request, destination.prefix)
        process = self._process_here(server, start_response)
        make = partial(destination.make, process) if destination.in_process else destination.make
        hub, loop = process.hub, process.loop
        context = EndpointContext(self.config, self._policy, facility, handshake.offered, loop.soon)
        # The limits of the process and of the address are checked before the site's code runs, the
        # limit of the user after it.
        slots = process.limits.take(request.client_address, server.ends_tls)
        try:
            endpoint, in_time = self._identify_and_decide(request, context, make)
        except BaseException as exc:
            process.limits.release(slots)
            _name_user(exc, request.identity)
            raise
        connection = WebSocket(
            hub,
            process.receivers,
            endpoint,
            request.identity,
            handshake.subprotocol,
            handshake.window_bits,
        )
        connection.since = since
        connection.slots = slots
        try:
            if not in_time:
                raise HandshakeError(503, TOO_LONG, RETRY_SOON)
            connection.slots = process.limits.take_user(slots, request.identity.user)
            headers = handshake.headers  # the common case
            if (
                endpoint.subprotocol is not None
                or handshake.subprotocol is not None
                or endpoint.headers
            ):
                headers = _agree(handshake, connection)
        except BaseException as exc:
            process.limits.release(connection.slots)
            loop.run(connection.abort)
            _name_user(exc, request.identity)
            raise
        try:
            loop.run(join, hub, connection)
        except HandshakeError as exc:
            _name_user(exc, request.identity)
            raise
        environ[TAKEN] = True
        try:
            if endpoint.deferred:
                client = server.take(start_response)
                loop.run(_await_answer, connection, client, loop, handshake)
            else:
                client = server.upgrade(start_response, headers)
                loop.run(_open, connection, client, loop)
        except BaseException as exc:
            loop.run(connection.abort)
            if not isinstance(exc, OSError):
                raise
            log.info("the client disconnected during the handshake: %s", exc)
        return server.finish(start_response)

    def _identify_and_decide(
        self, request: Request, context: EndpointContext, make: EndpointFactory
    ) -> tuple[Endpoint, bool]:
        """Call the resolver and make the endpoint; return whether both were done in time, too.

        Raises:
            HandshakeError: 503 if time has run out and there is no endpoint.
        """
        endpoint: Endpoint | None = None
        limit = TimeLimit(self.config.handshake_timeout)
        try:
            with limit:
                request.identity = self._identify(request)
                endpoint = self._make_endpoint(request, context, make)
        except TimeoutError as exc:
            if endpoint is None:
                raise HandshakeError(503, TOO_LONG, RETRY_SOON) from exc
            return endpoint, False
        finally:
            if limit.took >= LIMIT:
                self._check_handshake(limit.took, endpoint)
        return endpoint, True

    def _check_handshake(self, took: float, endpoint: Endpoint | None) -> None:
        """Report the site's code in a handshake if it has held the loop."""
        called: dict[str, Callable[..., Any]] = {"identity": self.resolver}
        if not isinstance(endpoint, AsgiEndpoint):  # which has no policy
            called |= {"allowed_channels": self._policy, "endpoint": type(endpoint)}
        own = (anonymous, default_policy, PubSubEndpoint, type(None))
        check_handshake(took, {name: each for name, each in called.items() if each not in own})

    def _identify(self, request: Request) -> Identity:
        """Call the resolver for the identity; if it fails, refuse the handshake."""
        try:
            identity = self.resolver(request) or ANONYMOUS
            if not isinstance(identity, Identity):
                raise TypeError(f"a resolver must return an Identity or None, not {identity!r}")
        except HandshakeError:
            raise
        except Exception as exc:
            log.exception("the identity resolver failed, so the handshake is refused")
            raise PermissionDenied("The client could not be identified.") from exc
        return identity

    def _make_endpoint(
        self, request: Request, context: EndpointContext, make: EndpointFactory
    ) -> Endpoint:
        try:
            endpoint = make(request, context)
            if endpoint is None:
                raise TypeError(f"{make!r} must return an Endpoint, not None")
            return endpoint
        except HandshakeError:
            raise
        except Exception as exc:
            log.exception("the endpoint failed, so the handshake is refused")
            raise HandshakeError(500, SERVER_ERROR) from exc

    def _process_here(self, server: Server | None = None, start_response: Any = None) -> Process:
        """Return the process object, made at the first handshake and so never before a fork.

        Args:
            server: the server of that handshake, which may need descriptors of its own.
            start_response: that of the request.
        """
        process = self._process
        if process is None or process.closed or process.pid != os.getpid():
            own = 0 if server is None else server.own_descriptors(start_response)
            tls = server is not None and server.ends_tls
            claim(self, self.config)  # `close` has taken it back
            process = self._process = process_for(self.config, self.broker, own, tls)
        return process

    def stats(self) -> dict[str, int]:
        """Return the counters of this process; all 0 before the first handshake of this middleware.

        ``connections``, ``channels``, ``accepted``, ``delivered`` (messages to websockets),
        ``slow_consumers`` (websockets closed as too slow), ``messages_dropped`` (messages dropped
        from full send buffers), ``over_limit`` (websockets that sent too much), ``revoked``
        (websockets whose identity ended), ``timeouts`` (clients that did not answer in time),
        ``handshake_timeouts`` (endpoints that did not), ``send_buffer_bytes``, ``gaps`` (times
        that messages may have been lost), ``reconnects``, ``unpublished``, ``broker_connected``,
        ``draining``.

        Middleware objects with equal options and the same broker share their counters.
        """
        process = self._process
        if process is None or process.closed or process.pid != os.getpid():
            return Statistics(dict.fromkeys(Hub.NUMBERS, 0))
        return Statistics(process.stats())

    def close(self) -> None:
        """End all websockets of this process and the link to the broker; for tests.

        This includes the websockets of other middleware objects with equal options and the same
        broker. The next handshake of any of them starts afresh. Until then, the options of this
        object no longer apply to publishers that are given none.
        """
        release(self)
        if self._process is not None and self._process.pid == os.getpid():
            self._process.close()
        self._process = None


def _check_callable(name: str, value: object, hint: str, *, may_be_class: bool = False) -> None:
    """Refuse an argument that is not callable, before a handshake needs it.

    A class instead of an instance is refused too: it would get the request as its arguments.
    """
    if value is None or (callable(value) and (may_be_class or not isinstance(value, type))):
        return
    what = "a class" if isinstance(value, type) else "not callable"
    raise ConfigurationError(f"{name}={value!r:.200} is {what}: write {hint}.")


def _name_user(exc: BaseException, identity: Identity) -> None:
    """Tell a refusal which user it refuses."""
    if isinstance(exc, HandshakeError):
        exc.user = identity.user


def join(hub: Hub, connection: WebSocket) -> None:
    """Admit a connection and subscribe it to its endpoint's channels; called on the hub's loop.

    Raises:
        HandshakeError: 503 when the process is about to end or the broker is unavailable, 403 for
            more channels than ``max_handshake_channels``.
    """
    endpoint = connection.endpoint
    try:
        hub.admit(connection)
        check_channels(endpoint.channels, hub.config.max_handshake_channels)
        hub.subscribe(connection, endpoint.channels, retained=endpoint.wants_retained)
    except BrokerUnavailable as exc:
        connection.abort()
        text = "The message broker is unavailable; try again."
        raise HandshakeError(503, text, RETRY_SOON) from exc
    except BaseException:
        connection.abort()
        raise


def _agree(handshake: Handshake, connection: WebSocket) -> tuple[tuple[str, str], ...]:
    """Return the headers of the 101, with the subprotocol and the headers of the endpoint.

    Raises:
        HandshakeError: 500 for a subprotocol or header that cannot be sent.
    """
    endpoint = connection.endpoint
    if endpoint.deferred:
        return ()  # `WebSocket.accept` adds them
    if endpoint.subprotocol is not None:
        connection.subprotocol = endpoint.subprotocol
    try:
        return handshake.answer(connection.subprotocol, endpoint.headers)
    except ValueError as exc:
        log.error("the endpoint failed, so the handshake is refused: %s", exc)
        raise HandshakeError(500, SERVER_ERROR) from exc


def _await_answer(
    connection: WebSocket, client: Detached, loop: Loop, handshake: Handshake
) -> None:
    """Hand a client's socket to its connection, which will answer; called on the hub's loop."""
    if client.tunnel is not None:
        client.tunnel.start(loop.gevent)
    connection.await_answer(client.fd, client.early, handshake)


def _open(connection: WebSocket, client: Detached, loop: Loop) -> None:
    """Hand a client's socket to its open connection; called on the hub's loop."""
    if client.tunnel is not None:
        client.tunnel.start(loop.gevent)
    connection.open(client.fd, client.early)
