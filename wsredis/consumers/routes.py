"""The option ``routes``: what handles the websocket at a path.

Synchronous consumers are run by `wsredis.consumers.run`, if their channel layer is one of
`wsredis.layers`. All other consumers and ASGI applications are run by `wsredis.asgi`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from ..endpoints.base import Endpoint, EndpointContext
from ..layers.base import ChannelLayer
from ..layers.registry import get_channel_layer
from ..process import Process
from ..runtime.logs import Seldom
from .base import Consumer, SyncConsumer
from .host import ConsumerHost
from .routing import Match, URLRouter, check_routes, is_imported_later, route_scope, router

__all__ = ["Routes"]

log = logging.getLogger("wsredis.consumers")

_seldom = Seldom()

OTHER_SLASH = "there is no route for %.200r, but there is one for %.200r. (Once a minute.)"

Make = Callable[[Process, Any, EndpointContext], Endpoint]


class Routes:
    """The routes of a middleware.

    Args:
        value: a list of routes and of paths of more routes, a router, or the path of one.

    Attributes:
        value: that argument.

    Raises:
        ConfigurationError: it is none of these.
    """

    def __init__(self, value: Any) -> None:
        check_routes(value)
        self.value = value
        self._router: URLRouter | None = None if is_imported_later(value) else router(value)

    def find(self, path: str) -> Make | None:
        """Return what makes the endpoint for a path; import the routes at the first call.

        Args:
            path: the path of a request, as the server has decoded it (PEP 3333).

        Raises:
            ConfigurationError: the routes cannot be imported, or are not valid.
        """
        if self._router is None:
            self._router = router(self.value)
        try:
            text = path.encode("latin-1").decode()[1:]
        except ValueError:  # the handshake is refused for it
            return None
        found = self._router.match(text)
        if found is not None:
            return partial(_make, found)
        other = text.removesuffix("/") if text.endswith("/") else text + "/"
        if self._router.match(other) is not None and _seldom.passes(id(self)):
            log.warning(OTHER_SLASH, text, other)
        return None


def _make(found: Match, process: Process, request: Any, context: EndpointContext) -> Any:
    """Return the endpoint for a route."""
    app = found.app
    if isinstance(app, type) and Endpoint in app.__mro__:
        request.url_route = route_scope(found, {})["url_route"]
        return app(request, context)
    consumer = getattr(app, "consumer_class", None)
    if consumer is not None and _runs_natively(consumer):
        host = process.shared(ConsumerHost, partial(ConsumerHost, process))
        endpoint = host.endpoint(request, context, consumer, app.consumer_initkwargs)
    else:
        endpoint = process.host(app).endpoint(request, context)
    scope = endpoint.scope
    scope.update(route_scope(found, {}))
    if consumer is not None and issubclass(consumer, Consumer):  # others have middleware for these
        cookies = dict(request.cookies) if "HTTP_COOKIE" in request.environ else {}
        scope.setdefault("cookies", cookies)
        scope.setdefault("user", request.identity.user)
        scope.setdefault("session", request.identity.session)
    return endpoint


def _runs_natively(consumer: type) -> bool:
    """Return whether a consumer needs no asyncio: it is synchronous, and its layer is ours."""
    if not issubclass(consumer, SyncConsumer):
        return False
    layer: object = get_channel_layer(consumer.channel_layer_alias)
    return isinstance(layer, ChannelLayer)
