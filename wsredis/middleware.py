"""The gate: requests under the prefix become websockets, all others go to the wrapped app.

The composition root. It knows every room, and each step of a handshake is one line here.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from webob import Request as BaseRequest

from .access import AllowedChannels, default_policy
from .admission import TLS
from .brokers import Broker, broker_for
from .config import Config, current_config
from .connection import Connection
from .drain import attach, install_signals
from .endpoints import EndpointContext, EndpointFactory, PubSubEndpoint
from .exceptions import ConfigurationError, HandshakeError, PermissionDenied
from .handshake import answer, facility_of, read_handshake
from .hub import Hub
from .identity import ANONYMOUS, Identity, IdentityResolver, anonymous
from .loop import Loop, TimeLimit
from .proxies import client_address
from .servers import Detached, ends_tls, server_for
from .servers.descriptor import reserve

__all__ = ["WebSocketMiddleware"]

log = logging.getLogger("wsredis.middleware")

TOO_LONG = "It took too long to find out who you are."
TAKEN = "wsredis.taken"

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Request(BaseRequest):
    """Carry what a handshake has found out; what a class does not have, WebOb looks for slowly.

    Attributes:
        identity: who it is, once the resolver has said so.
        client_address: where the client is, behind trusted proxies too; "" if nobody knows.
    """

    identity = ANONYMOUS
    client_address = ""


class WebSocketMiddleware:
    """Wrap a WSGI application so that the same server, port and process holds websockets.

    ::

        from wsredis import WebSocketMiddleware
        application = WebSocketMiddleware(application)

    Args:
        app: the application that gets every request outside the prefix; None for a process that
            only holds websockets and answers 404 to everything else.
        config: the options; by default what `wsredis.configure` has set, else the environment.
        identity: says who sends a request; by default nobody is known.
        allowed_channels: says what of the asked-for channels is granted; by default every
            subscription and no publishing.
        broker: moves the messages; by default the one that ``config.redis`` names.
        endpoint: makes what a websocket does; by default `PubSubEndpoint`.
        **options: fields of `Config`, laid over ``config``.

    Raises:
        ConfigurationError: an option is unknown or makes no sense, or an argument is nothing that
            can be called.
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
        _check_callable("allowed_channels", allowed_channels, "a function (request, wishes)")
        _check_callable("endpoint", endpoint, "a class like PubSubEndpoint", may_be_class=True)
        given: object = config
        if given is not None and not isinstance(given, Config):
            kind = type(given).__name__
            raise ConfigurationError(f"config is a {kind}: write config=Config(...).")
        self.app = app
        self.config = Config.make(config or current_config(), **options)
        self.broker = broker if broker is not None else broker_for(self.config)
        self._resolver = identity if identity is not None else anonymous
        self._policy = allowed_channels if allowed_channels is not None else default_policy
        self._endpoint = endpoint if endpoint is not None else PubSubEndpoint
        self._lock = threading.Lock()
        self._home: tuple[int, Hub, Loop] | None = None
        install_signals()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        if environ.get("PATH_INFO", "").startswith(self.config.prefix):
            try:
                return self._accept(environ, start_response)
            except HandshakeError as refused:
                client = client_address(environ, self.config)
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
        request.client_address = client_address(environ, self.config)
        handshake = read_handshake(request, self.config)
        facility = facility_of(request, self.config.prefix)
        context = EndpointContext(self.config, self._policy, facility)
        try:
            with TimeLimit(self.config.handshake_timeout):
                identity = request.identity = self._identify(request)
                endpoint = self._make_endpoint(request, context)
        except TimeoutError as exc:
            raise HandshakeError(503, TOO_LONG, [("Retry-After", "2")]) from exc
        hub, loop = self._hub()
        connection = Connection(
            hub, endpoint, identity, handshake.subprotocol, handshake.window_bits
        )
        connection.since = since
        if ends_tls(environ):
            connection.seats = (TLS,)
        loop.run(hub.join, connection, endpoint.channels, request.client_address)
        environ[TAKEN] = True
        try:
            client = server.upgrade(environ, start_response, handshake.headers)
            loop.run(_open, connection, client, loop)
        except BaseException as exc:
            loop.run(connection.cut)
            if not isinstance(exc, OSError):
                raise
            log.info("the client went away during the handshake: %s", exc)
        return server.finish(start_response)

    def _identify(self, request: Request) -> Identity:
        """Ask who this is; a resolver that fails lets nobody in."""
        try:
            identity = self._resolver(request) or ANONYMOUS
            if not isinstance(identity, Identity):
                raise TypeError(f"a resolver returns an Identity or None, not {identity!r}")
        except HandshakeError:
            raise
        except Exception as exc:
            log.exception("the identity resolver failed, so the handshake is refused")
            raise PermissionDenied("It could not be found out who you are.") from exc
        return identity

    def _make_endpoint(self, request: Request, context: EndpointContext) -> Any:
        try:
            return self._endpoint(request, context)
        except HandshakeError:
            raise
        except Exception as exc:
            log.exception("the endpoint failed, so the handshake is refused")
            raise HandshakeError(500, "This websocket cannot be opened.") from exc

    def _hub(self) -> tuple[Hub, Loop]:
        """Return this process's hub, made at its first websocket: never before a fork."""
        home = self._home
        if home is None or home[0] != os.getpid():
            with self._lock:
                home = self._home
                if home is None or home[0] != os.getpid():
                    home = self._home = self._make_hub()
        return home[1:]

    def _make_hub(self) -> tuple[int, Hub, Loop]:
        reserve(self.config.connection_limit())
        loop = Loop()

        def make() -> Hub:
            hub = Hub(self.config, self.broker, loop)
            attach(hub, loop)
            return hub

        return os.getpid(), loop.run(make), loop

    def stats(self) -> dict[str, int]:
        """Return the counters of this process; all 0 before its first websocket.

        ``connections``, ``channels``, ``accepted``, ``delivered`` (messages to sockets),
        ``dropped`` (sockets too slow), ``shed`` (messages that gave way in an outbox),
        ``flooding`` (sockets that sent too much), ``revoked`` (sockets whose identity ended),
        ``timeouts``, ``outbox_bytes``, ``gaps`` (times messages may have been lost),
        ``reconnects``, ``unpublished``, ``broker_connected``, ``draining``.
        """
        if self._home is None or self._home[0] != os.getpid():
            return dict.fromkeys(Hub.NUMBERS, 0)
        _, hub, loop = self._home
        return loop.run(hub.numbers)

    def close(self) -> None:
        """End every websocket of this process and the broker's feed; for tests."""
        if self._home is not None and self._home[0] == os.getpid():
            _, hub, loop = self._home
            loop.run(hub.close)
            self._home = None


def _check_callable(name: str, value: object, hint: str, *, may_be_class: bool = False) -> None:
    """Refuse an argument that could not be called later, when a handshake needs it.

    A class instead of an object would take each request for its own arguments.
    """
    if value is None or (callable(value) and (may_be_class or not isinstance(value, type))):
        return
    what = "a class" if isinstance(value, type) else "nothing that can be called"
    raise ConfigurationError(f"{name}={value!r:.200} is {what}: write {hint}.")


def _open(connection: Connection, client: Detached, loop: Loop) -> None:
    """Hand a client's socket to its connection; on the hub's loop."""
    if client.tunnel is not None:
        client.tunnel.start(loop.gevent)
    connection.open(client.fd, client.early)
