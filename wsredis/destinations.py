"""The choice of what handles a websocket: a route, the ASGI application, or the endpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .asgi.application import check_application
from .config import Config
from .endpoints.base import Endpoint, EndpointContext, EndpointFactory
from .endpoints.pubsub import NOTHING_REQUESTED
from .exceptions import ConfigurationError, HandshakeError
from .handshake.refusal import SERVER_ERROR
from .process import Process
from .runtime.logs import Seldom

if TYPE_CHECKING:
    from .consumers.routes import Routes

__all__ = ["Destination", "Destinations"]

log = logging.getLogger("wsredis.middleware")

NO_ROUTE = "There is no websocket at this path."

NOT_VALID = "%s Until this is corrected, handshakes get 500, and each tries again. (Once a minute.)"

_seldom = Seldom()

Make = Callable[[Process, Any, EndpointContext], Endpoint]


class Destination(NamedTuple):
    """What handles a websocket.

    Attributes:
        prefix: the part of the path before the facility.
        make: makes the endpoint for a request.
        in_process: whether the first argument of ``make`` is the process object.
    """

    prefix: str
    make: Callable[..., Endpoint]
    in_process: bool = True


class Destinations:
    """The destinations of all websockets of a middleware.

    The routes come first, then the ASGI application for everything below its prefix, then the
    endpoint. Of the last two the one with the longer prefix comes first. With routes, all other
    websockets are refused with 404; without them, they belong to the WSGI application.

    Args:
        config: the options.
        endpoint: makes the endpoint of a websocket; None for the default one.
        asgi: an ASGI application or its path; None for none.
        routes: routes, a router, or its path; None for none.
        default: makes the endpoint if ``endpoint`` is None.

    Attributes:
        endpoint: the destination below the prefix if there is no other one.

    Raises:
        ConfigurationError: an argument is not valid, or an endpoint could never be reached.
    """

    def __init__(
        self,
        config: Config,
        endpoint: EndpointFactory | None,
        asgi: Any,
        routes: Any,
        default: EndpointFactory,
    ) -> None:
        self.prefix = config.prefix
        self.asgi_prefix: str | None = None
        make = endpoint or default
        if routes is not None:
            make = partial(_make_unrouted, make)
        self.endpoint = Destination(config.prefix, make, in_process=False)
        self._asgi: Destination | None = None
        self._routes: Routes | None = None
        if routes is not None:
            from .consumers.routes import Routes

            self._routes = Routes(routes)
        if asgi is not None:
            check_application(asgi)
            self.asgi_prefix = config.asgi_prefix or config.prefix
            host = partial(_make_configured, asgi, partial(_host, asgi))
            self._asgi = Destination(self.asgi_prefix, host)
            self._check_prefixes(endpoint is not None)

    def _check_prefixes(self, has_endpoint: bool) -> None:
        """Check that the ASGI application leaves websockets to the endpoint."""
        if self.asgi_prefix != self.prefix:
            return
        if has_endpoint:
            raise ConfigurationError(
                f"asgi and endpoint both have the websockets below {self.prefix}: write another"
                " asgi_prefix or prefix."
            )
        log.info(
            "the ASGI application has all websockets below %s, so none can be opened with"
            " ?subscribe-...; for both, set another asgi_prefix",
            self.prefix,
        )

    def find(self, environ: dict[str, Any], path: str) -> Destination | None:
        """Return what handles a request; None if it is not for a websocket of this middleware.

        Outside the prefix of wsredis, plain HTTP belongs to the WSGI application.

        Args:
            environ: that of the request.
            path: its path, as the server has decoded it (PEP 3333).

        Raises:
            HandshakeError: 404 if nothing handles it, 500 if the routes cannot be imported.
        """
        inside = path.startswith(self.prefix)
        if not (inside or _is_websocket(environ)):
            return None
        routes = self._routes
        if routes is not None and _is_websocket(environ):
            try:
                make = routes.find(path)
            except ConfigurationError as exc:
                raise _not_valid(routes.value, exc) from exc
            if make is not None:
                return Destination("/", partial(_make_configured, routes.value, make))
        prefix = self.asgi_prefix
        hosted = prefix is not None and path.startswith(prefix)
        if hosted and (not inside or len(prefix or "") >= len(self.prefix)):
            return self._asgi
        if inside:
            return self.endpoint
        if routes is not None:
            raise HandshakeError(404, NO_ROUTE)
        return None


def _is_websocket(environ: dict[str, Any]) -> bool:
    return "websocket" in environ.get("HTTP_UPGRADE", "").lower()


def _make_unrouted(factory: EndpointFactory, request: Any, context: EndpointContext) -> Endpoint:
    """Return the endpoint for a path without a route.

    Raises:
        HandshakeError: 404 if it is the default one and no channel is requested.
    """
    try:
        return factory(request, context)
    except HandshakeError as exc:
        if exc.text == NOTHING_REQUESTED:
            raise HandshakeError(404, NO_ROUTE) from exc
        raise


def _host(app: Any, process: Process, request: Any, context: EndpointContext) -> Endpoint:
    """Return the endpoint for an ASGI application, which is imported at the first handshake."""
    return process.host(app).endpoint(request, context)


def _make_configured(
    option: Any, make: Make, process: Process, request: Any, context: EndpointContext
) -> Endpoint:
    """Return the endpoint that an option describes, which may turn out not to be valid."""
    try:
        return make(process, request, context)
    except ConfigurationError as exc:
        raise _not_valid(option, exc) from exc


def _not_valid(option: Any, exc: ConfigurationError) -> HandshakeError:
    """Log that an option is not valid; return the refusal of the handshake."""
    if _seldom.passes(option if isinstance(option, str) else id(option)):
        log.error(NOT_VALID, exc, exc_info=exc)
    return HandshakeError(500, SERVER_ERROR)
