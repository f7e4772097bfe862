"""The gate: requests under the prefix become websockets, all others go to the wrapped app.

The composition root. It knows every package, and each step of a handshake is one line here.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from .access.policy import AllowedChannels, default_policy
from .brokers import Broker, broker_for
from .config import Config, current_config
from .deprecated import Statistics
from .drain import install_signals
from .endpoints import Endpoint, EndpointContext, EndpointFactory, PubSubEndpoint
from .exceptions import BrokerUnavailable, ConfigurationError, HandshakeError, PermissionDenied
from .handshake.refusal import answer
from .handshake.request import Request
from .handshake.upgrade import facility_of, read_handshake
from .hub.hub import Hub
from .identity import ANONYMOUS, Identity, IdentityResolver, anonymous
from .process import Process, process_for
from .protocol.http import RETRY_SOON
from .proxies import client_address
from .runtime.loop import Loop, TimeLimit
from .servers import Detached, server_for
from .transports.websocket import WebSocket

__all__ = ["WebSocketMiddleware"]

log = logging.getLogger("wsredis.middleware")

TOO_LONG = "It took too long to identify the client."
TAKEN = "wsredis.taken"

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WebSocketMiddleware:
    """A wrapper around a WSGI application: the same server, port and process serves websockets.

    ::

        from wsredis import WebSocketMiddleware
        application = WebSocketMiddleware(application)

    Args:
        app: the application that gets every request outside the prefix; None for a process that
            only serves websockets and answers 404 to everything else.
        config: the options; by default what `wsredis.configure` has set, else the environment.
        identity: identifies the client of a request; by default every client is anonymous.
        allowed_channels: says which of the requested channels are granted; by default every
            subscription and no publishing.
        broker: moves the messages; by default the one that ``config.redis`` names.
        endpoint: makes what a websocket does; by default `PubSubEndpoint`.
        **options: fields of `Config`, laid over ``config``.

    Raises:
        ConfigurationError: an option is unknown or not valid, or an argument cannot be called.
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
        self.config = Config.make(config or current_config(), **options)
        self.broker = broker if broker is not None else broker_for(self.config)
        self.resolver = identity if identity is not None else anonymous
        self._policy = allowed_channels if allowed_channels is not None else default_policy
        self._endpoint = endpoint if endpoint is not None else PubSubEndpoint
        self._process: Process | None = None
        install_signals()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        if environ.get("PATH_INFO", "").startswith(self.config.prefix):
            try:
                return self._accept(environ, start_response)
            except HandshakeError as refused:
                client = client_address(environ, self.config.trusted_proxies)
                log.info("refused %d client=%s: %s", refused.status, client, refused.text)
                return answer(refused, start_response)
        if self.app is None:
            where = f"Only websockets are served here, below {self.config.prefix}"
            return answer(HandshakeError(404, where), start_response)
        return self.app(environ, start_response)

    def _accept(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Turn a request into a websocket; HTTP answers exist until the 101, close codes after."""
        since = time.monotonic()
        if TAKEN in environ:  # by a middleware around this one that tries again, say
            raise HandshakeError(400, "This request is a websocket already.")
        server = server_for(environ)
        request = Request(environ)
        request.client_address = client_address(environ, self.config.trusted_proxies)
        handshake = read_handshake(request, self.config)
        facility = facility_of(request, self.config.prefix)
        process = self._process_here()
        # The process and the address are asked for room before anybody's code runs, the user after.
        slots = process.limits.take(request.client_address, server.ends_tls)
        try:
            endpoint = self._identify_and_decide(request, facility)
            slots = process.limits.take_user(slots, request.identity.user)
        except BaseException:
            process.limits.release(slots)
            raise
        hub, loop = process.hub, process.loop
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
        loop.run(join, hub, connection)
        environ[TAKEN] = True
        try:
            client = server.upgrade(environ, start_response, handshake.headers)
            loop.run(_open, connection, client, loop)
        except BaseException as exc:
            loop.run(connection.abort)
            if not isinstance(exc, OSError):
                raise
            log.info("the client disconnected during the handshake: %s", exc)
        return server.finish(start_response)

    def _identify_and_decide(self, request: Request, facility: str) -> Endpoint:
        """Ask the resolver and make the endpoint, in the time there is for both."""
        context = EndpointContext(self.config, self._policy, facility)
        try:
            with TimeLimit(self.config.handshake_timeout):
                request.identity = self._identify(request)
                return self._make_endpoint(request, context)
        except TimeoutError as exc:
            raise HandshakeError(503, TOO_LONG, RETRY_SOON) from exc

    def _identify(self, request: Request) -> Identity:
        """Ask the resolver for the identity; if it fails, the handshake is refused."""
        try:
            identity = self.resolver(request) or ANONYMOUS
            if not isinstance(identity, Identity):
                raise TypeError(f"a resolver returns an Identity or None, not {identity!r}")
        except HandshakeError:
            raise
        except Exception as exc:
            log.exception("the identity resolver failed, so the handshake is refused")
            raise PermissionDenied("The client could not be identified.") from exc
        return identity

    def _make_endpoint(self, request: Request, context: EndpointContext) -> Endpoint:
        try:
            return self._endpoint(request, context)
        except HandshakeError:
            raise
        except Exception as exc:
            log.exception("the endpoint failed, so the handshake is refused")
            raise HandshakeError(500, "This websocket cannot be opened.") from exc

    def _process_here(self) -> Process:
        """Return the process object, made at the first handshake: never before a fork."""
        process = self._process
        if process is None or process.closed or process.pid != os.getpid():
            process = self._process = process_for(self.config, self.broker)
        return process

    def stats(self) -> dict[str, int]:
        """Return the counters of this process; all 0 before the first handshake of this middleware.

        ``connections``, ``channels``, ``accepted``, ``delivered`` (messages to sockets),
        ``slow_consumers`` (sockets closed as too slow), ``messages_dropped`` (messages dropped from
        full send buffers), ``over_limit`` (sockets that sent too much), ``revoked`` (sockets whose
        identity ended), ``timeouts``, ``send_buffer_bytes``, ``gaps`` (times messages may have been
        lost), ``reconnects``, ``unpublished``, ``broker_connected``, ``draining``.

        Middleware with equal options and the same broker counts together.
        """
        process = self._process
        if process is None or process.closed or process.pid != os.getpid():
            return Statistics(dict.fromkeys(Hub.NUMBERS, 0))
        return Statistics(process.stats())

    def close(self) -> None:
        """End every websocket of this process and its link to the broker; for tests.

        That includes those of other middleware with equal options and the same broker. What comes
        next, to this middleware or another, begins anew.
        """
        if self._process is not None and self._process.pid == os.getpid():
            self._process.close()
        self._process = None


def _check_callable(name: str, value: object, hint: str, *, may_be_class: bool = False) -> None:
    """Refuse an argument that could not be called later, when a handshake needs it.

    A class instead of an object would take each request for its own arguments.
    """
    if value is None or (callable(value) and (may_be_class or not isinstance(value, type))):
        return
    what = "a class" if isinstance(value, type) else "nothing that can be called"
    raise ConfigurationError(f"{name}={value!r:.200} is {what}: write {hint}.")


def join(hub: Hub, connection: WebSocket) -> None:
    """Admit a connection and subscribe it to its endpoint's channels; on the hub's loop.

    Raises:
        HandshakeError: 503 when the process is about to end or the broker is unavailable.
    """
    endpoint = connection.endpoint
    try:
        hub.admit(connection)
        hub.subscribe(connection, endpoint.channels, retained=endpoint.wants_retained)
    except BrokerUnavailable as exc:
        connection.abort()
        log.warning("a websocket was refused because the broker is unavailable: %s", exc)
        text = "The message broker is unavailable; try again."
        raise HandshakeError(503, text, RETRY_SOON) from exc
    except BaseException:
        connection.abort()
        raise


def _open(connection: WebSocket, client: Detached, loop: Loop) -> None:
    """Hand a client's socket to its connection; on the hub's loop."""
    if client.tunnel is not None:
        client.tunnel.start(loop.gevent)
    connection.open(client.fd, client.early)
