"""The extension `WSRedis` for Flask applications."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakSet

from flask import Blueprint, Flask, has_app_context, has_request_context, request

from wsredis.consumers.routing import URLRouter
from wsredis.disconnect import disconnect
from wsredis.exceptions import ConfigurationError

from .application import FlaskWebSocketMiddleware
from .commands import commands
from .conf import NAME, current_options
from .publisher import Publisher
from .sessions import follow_sessions
from .templating import websocket_script, websocket_uri

__all__ = ["WSRedis"]

T = TypeVar("T")


class WSRedis:
    """The extension that adds websockets to a Flask application.

    ::

        ws = WSRedis(app)          # or, with a factory: ws = WSRedis() and ws.init_app(app)

    One object may serve several applications; each keeps its own options and websockets.
    ``app.extensions["wsredis"]`` is the application's `FlaskWebSocketMiddleware`.

    Raises:
        ConfigurationError: an option of ``app.config`` is unknown or is not valid, or the
            application already has this extension.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self.app = app
        self._routes: list[tuple[str, Any]] = []
        self._gates: WeakSet[FlaskWebSocketMiddleware] = WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Wrap ``app.wsgi_app``, and add the client's script, template functions and commands."""
        if NAME in app.extensions:
            raise ConfigurationError(
                f"The application {app.name!r} already has this extension: call init_app only once."
            )
        # It checks the options; the first request reads them, and the routes.
        gate = FlaskWebSocketMiddleware(app, self._routes)
        self._gates.add(gate)
        app.extensions[NAME] = gate
        app.wsgi_app = gate  # type: ignore[method-assign]
        app.register_blueprint(_client(app))
        app.add_template_global(websocket_script)
        app.add_template_global(websocket_uri)
        app.cli.add_command(commands)
        follow_sessions(app)

    def route(self, rule: str) -> Callable[[T], T]:
        """Return a decorator that adds a consumer, or another endpoint, at a path.

        ::

            @ws.route("/ws/chat/<room>")
            class Chat(WebsocketConsumer): ...

        Args:
            rule: the path, with parameters of the kinds string (the default), int, uuid, slug and
                path.

        Raises:
            ConfigurationError: the rule is not valid, or a request has been answered already.
        """
        if rule[:1] != "/":
            raise ConfigurationError(f"the rule {rule!r} does not begin with a slash: write one.")
        if any(gate.is_ready for gate in self._gates):
            raise ConfigurationError(
                f"the route {rule!r} comes too late: add it before the first request."
            )

        def add(consumer: T) -> T:
            route = rule[1:].replace("<string:", "<str:"), consumer
            URLRouter([route])  # checks it
            self._routes.append(route)
            return consumer

        return add

    def publisher(self, facility: str | UUID = "", **to: Any) -> Publisher:
        """Return a `Publisher` with the options of the current application.

        Outside an application context it is the application given to the constructor.

        Args:
            facility: the topic of the messages.
            **to: the audiences; see `Publisher`.
        """
        with self._context():
            return Publisher(facility, **to)

    def disconnect(self, **whom: Any) -> int:
        """Close the websockets of a user, a session or a group; see `wsredis.disconnect`."""
        with self._context():
            return disconnect(config=current_options().config, **whom)

    def _context(self) -> AbstractContextManager[object]:
        """Return a context in which there is a current application, if one is known."""
        if self.app is not None and not has_app_context():
            return self.app.app_context()
        return nullcontext()


def _client(app: Flask) -> Blueprint:
    """Return the blueprint that serves the browser client."""
    client = Blueprint(NAME, NAME, static_folder="static/wsredis", static_url_path="/_wsredis")
    if app.url_map.host_matching:  # a rule without a host matches no request
        rule = f"{client.static_url_path}/<path:filename>"
        client.add_url_rule(rule, "static", client.send_static_file, host="<host>")
        client.url_defaults(_add_host)
        client.url_value_preprocessor(_drop_host)
    return client


def _add_host(endpoint: str, values: dict[str, Any]) -> None:
    if has_request_context():
        values.setdefault("host", request.host)


def _drop_host(endpoint: str | None, values: dict[str, Any] | None) -> None:
    if values is not None:
        values.pop("host", None)
