"""Routing: which consumer or application has a websocket, by its path.

Patterns are those of Django and of its Channels: ``ws/chat/<slug:room>/``, without the leading
slash, and objects made by Django's ``path`` and ``re_path``. A router is an ASGI application, too.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from ..config.names import suggestion
from ..config.paths import import_path, split_path
from ..exceptions import ConfigurationError

__all__ = ["ChannelNameRouter", "Match", "NoRoute", "ProtocolTypeRouter", "URLRouter"]

CONVERTERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "str": ("[^/]+", str),
    "int": ("[0-9]+", int),
    "slug": ("[-a-zA-Z0-9_]+", str),
    "uuid": ("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", uuid.UUID),
    "path": (".+", str),
}
"""The converters of patterns, each with its regular expression and its function."""

ROUTES = (
    'write a list such as [("ws/chat/<slug:room>/", ChatConsumer)], a URLRouter, or its path, such'
    " as 'mysite.routing.routes'."
)

WRITE = 'write ("ws/chat/<slug:room>/", ChatConsumer), or an object made by django.urls.path.'

_PARAMETER = re.compile(r"<(?:(?P<converter>[^>:]*):)?(?P<name>[^>]*)>")


class NoRoute(ValueError):
    """A path, or another key of a router, for which there is no application."""


class Match(NamedTuple):
    """An application that was found for a path.

    Attributes:
        app: the value of the route.
        args: the unnamed groups of the pattern.
        kwargs: the named groups of the pattern, and the arguments of the route.
        rest: the part of the path after the match.
    """

    app: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rest: str


class _Pattern(Protocol):
    def match(self, path: str) -> tuple[str, tuple[Any, ...], dict[str, Any]] | None:
        """Return the rest of the path and the values of the pattern; None if it does not match."""


class _OwnPattern:
    """A pattern such as ``ws/chat/<slug:room>/``.

    Args:
        text: the pattern.
        is_prefix: whether it need not match the whole path.

    Raises:
        ConfigurationError: it is not valid.
    """

    def __init__(self, text: str, is_prefix: bool) -> None:
        if text.startswith("/"):
            raise ConfigurationError(f"the pattern {text!r} begins with a slash: remove it.")
        self._functions: dict[str, Callable[[str], Any]] = {}
        parts: list[str] = []
        at = 0
        for found in _PARAMETER.finditer(text):
            parts.append(re.escape(text[at : found.start()]))
            at = found.end()
            parts.append(self._parameter(text, found["name"], found["converter"] or "str"))
        end = "" if is_prefix else r"\Z"
        self._regex = re.compile("".join(parts) + re.escape(text[at:]) + end)

    def _parameter(self, text: str, name: str, converter: str) -> str:
        if not name.isidentifier() or name in self._functions:
            raise ConfigurationError(
                f"{name!r} in the pattern {text!r} is not a name, or not the only one: write names"
                " such as <slug:room>."
            )
        if converter not in CONVERTERS:
            raise ConfigurationError(
                f"{converter!r} in the pattern {text!r} is not a converter:"
                f" {suggestion(converter, [*CONVERTERS])}"
            )
        regex, self._functions[name] = CONVERTERS[converter]
        return f"(?P<{name}>{regex})"

    def match(self, path: str) -> tuple[str, tuple[Any, ...], dict[str, Any]] | None:
        found = self._regex.match(path)
        if found is None:
            return None
        try:
            values = {name: self._functions[name](text) for name, text in found.groupdict().items()}
        except ValueError:  # an int of more digits than `sys.get_int_max_str_digits`
            return None
        return path[found.end() :], (), values


class _Route(NamedTuple):
    pattern: _Pattern
    app: Any
    kwargs: Mapping[str, Any]


class URLRouter:
    """A router by path.

    Args:
        routes: pairs of a pattern and an application, objects made by Django's ``path`` and
            ``re_path``, and more routes: a router, or a path such as ``mysite.routing.routes``. The
            first that matches is used. An application may be another router, which gets the rest of
            the path.

    Raises:
        ConfigurationError: a route is not valid, or a path cannot be imported.
    """

    _path_routing = True  # as routers of Channels are marked, for routers that contain this one

    def __init__(self, routes: Iterable[Any]) -> None:
        self.routes: list[_Route] = [route for each in routes for route in _routes(each)]

    def match(self, path: str) -> Match | None:
        """Return the application for a path without its leading slash; None if there is none."""
        for route in self.routes:
            found = route.pattern.match(path)
            if found is None:
                continue
            rest, args, kwargs = found
            kwargs = {**kwargs, **route.kwargs}
            if not isinstance(route.app, URLRouter):
                return Match(route.app, tuple(args), kwargs, rest)
            inner = route.app.match(rest)
            if inner is not None:
                return Match(
                    inner.app, (*args, *inner.args), {**kwargs, **inner.kwargs}, inner.rest
                )
        return None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Call the application for the path of a scope.

        Raises:
            NoRoute: there is none.
        """
        path = scope.get("path_remaining")
        if path is None:
            path, root = scope["path"], scope.get("root_path", "")
            if root and not path.startswith(root):
                raise NoRoute(f"the path {path!r} is not below the root_path {root!r}")
            path = path.removeprefix(root)
        found = self.match(path.removeprefix("/"))
        if found is None:
            raise NoRoute(f"there is no route for the path {path!r}")
        await found.app({**scope, **route_scope(found, scope)}, receive, send)


def route_scope(found: Match, scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that routing adds to a scope."""
    outer = scope.get("url_route", {"args": (), "kwargs": {}})
    return {
        "path_remaining": found.rest,
        "url_route": {
            "args": (*outer["args"], *found.args),
            "kwargs": {**outer["kwargs"], **found.kwargs},
        },
    }


def application(value: Any) -> Any:
    """Return the ASGI application that the value of a route is: a class of consumers has one."""
    as_asgi = getattr(value, "as_asgi", None)
    return as_asgi() if isinstance(value, type) and as_asgi is not None else value


class ProtocolTypeRouter:
    """A router by the type of a scope.

    Args:
        application_mapping: applications by types, such as ``websocket``.
    """

    def __init__(self, application_mapping: Mapping[str, Any]) -> None:
        self.application_mapping = {
            key: application(app) for key, app in application_mapping.items()
        }

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Call the application for the type of a scope.

        Raises:
            NoRoute: there is none.
        """
        app = self.application_mapping.get(scope["type"])
        if app is None:
            raise NoRoute(f"there is no application for scopes of type {scope['type']!r}")
        await app(scope, receive, send)


class ChannelNameRouter:
    """A router by the name of a general channel, for workers.

    Args:
        application_mapping: applications by the names of channels.
    """

    def __init__(self, application_mapping: Mapping[str, Any]) -> None:
        self.application_mapping = {
            key: application(app) for key, app in application_mapping.items()
        }

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Call the application for the channel of a scope.

        Raises:
            NoRoute: there is none.
        """
        name = scope.get("channel")
        app = self.application_mapping.get(name) if name is not None else None
        if app is None:
            raise NoRoute(f"there is no application for the channel {name!r}")
        await app(scope, receive, send)


def check_routes(value: Any) -> None:
    """Check the option ``routes`` as far as possible without importing anything.

    Raises:
        ConfigurationError: it is neither routes nor a router, nor a path.
    """
    if not is_imported_later(value):
        router(value)
        return
    for each in [value] if isinstance(value, str) else value:
        if not isinstance(each, str):
            _routes(each)
            continue
        try:
            split_path(each)
        except ValueError as exc:
            raise ConfigurationError(f"routes={each!r} is not a path: {ROUTES}") from exc


def is_imported_later(value: Any) -> bool:
    """Return whether the option ``routes`` is a path, or contains one."""
    has_paths = isinstance(value, list | tuple) and any(isinstance(each, str) for each in value)
    return has_paths or isinstance(value, str)


def router(value: Any) -> URLRouter:
    """Return the router that the option ``routes`` is, or that its path names.

    Raises:
        ConfigurationError: it is neither routes nor a router, or cannot be imported.
    """
    if isinstance(value, str):
        try:
            value = import_path(value)
        except (Exception, SystemExit) as exc:  # SystemExit would end the process
            raise ConfigurationError(
                f"routes={value!r} cannot be imported ({type(exc).__name__}): {ROUTES}"
            ) from exc
    if isinstance(value, ProtocolTypeRouter):
        value = value.application_mapping.get("websocket")
    if isinstance(value, URLRouter):
        return value
    if not isinstance(value, list | tuple):
        raise ConfigurationError(f"routes={value!r:.200} is not valid: {ROUTES}")
    return URLRouter(value)


def _routes(value: Any) -> list[_Route]:
    """Return the routes that an item of a list of routes stands for."""
    if isinstance(value, str | URLRouter | ProtocolTypeRouter):
        return router(value).routes
    return [_route(value)]


def _route(value: Any) -> _Route:
    if isinstance(value, tuple | list):
        if len(value) not in (2, 3) or not isinstance(value[0], str) or not callable(value[1]):
            raise ConfigurationError(f"{value!r:.200} is not a route: {WRITE}")
        text = value[0]
        app: Any = value[1]
        kwargs = value[2] if len(value) == 3 else {}
        return _Route(_OwnPattern(text, isinstance(app, URLRouter)), application(app), kwargs)
    pattern: Any = getattr(value, "pattern", None)
    if pattern is None:
        raise ConfigurationError(f"{value!r:.200} is not a route: {WRITE}")
    app = getattr(value, "callback", None)
    if app is None:
        raise ConfigurationError(
            f"{value!r:.200} is an include(), which cannot be used here: write a URLRouter in its"
            " place."
        )
    if isinstance(app, URLRouter):
        pattern = _as_prefix(pattern)
    return _Route(pattern, application(app), value.default_args)


def _as_prefix(pattern: Any) -> Any:
    """Return a pattern of Django that need not match the whole path."""
    kind = type(pattern)
    if hasattr(pattern, "_route"):
        return kind(pattern._route, is_endpoint=False)
    return kind(pattern._regex.rstrip("$"), is_endpoint=False)
