"""The options of an application: ``app.config["WSREDIS_<NAME>"]``.

::

    app.config["WSREDIS_REDIS"] = "redis://localhost:6379/0"
    app.config["WSREDIS_ALLOWED_CHANNELS"] = "mysite.channels.allowed_channels"

The names are the fields of `Config` and the callbacks below. An option that ``app.config`` does not
set comes from the environment variable of the same name, or has its default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app

from wsredis.access.policy import AllowedChannels, default_policy
from wsredis.config import Config
from wsredis.config.names import suggestion
from wsredis.config.options import option_names
from wsredis.deprecated import renamed_options
from wsredis.endpoints import EndpointFactory
from wsredis.exceptions import ConfigurationError
from wsredis.identity import Identity

from ..options import load

__all__ = ["NAME", "Options", "current_options", "read_config", "read_options"]

NAME = "wsredis"
"""The name of this extension in ``app.extensions``, of its blueprint and of its commands."""

PREFIX = "WSREDIS_"

CALLBACKS = {
    "identity": "mysite.channels.identity",
    "user": "mysite.channels.user",
    "groups": "mysite.channels.groups",
    "allowed_channels": "mysite.channels.allowed_channels",
    "endpoint": "mysite.channels.ChatEndpoint",
    "asgi": "mysite.asgi.application",
    "routes": "mysite.routing.routes",
}
"""The options that are callables or their paths, each with an example of a path."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options in ``app.config``.

    Args:
        config: the options of the core.
        identity: returns the identity of a Flask request; by default `identity_of`.
        user: returns the user's name for `identity_of`; by default Flask-Login's id.
        groups: returns the groups of a user with a name for `identity_of`; by default none.
        allowed_channels: returns which of the requested channels a Flask request is granted.
        endpoint: returns the endpoint of a websocket; its arguments are a Flask request and an
            `EndpointContext`.
        asgi: an ASGI application or its path, which is imported at the first handshake.
        routes: routes or their path, which is imported at the first handshake.
    """

    config: Config
    identity: Callable[[Any], Identity | None] | None = None
    user: Callable[[Any], object] | None = None
    groups: Callable[[Any], Iterable[object] | None] | None = None
    allowed_channels: AllowedChannels = default_policy
    endpoint: EndpointFactory | None = None
    asgi: Any = None
    routes: Any = None


def read_config(app: Flask) -> Config:
    """Return the options of the core, ignoring the callbacks.

    Raises:
        ConfigurationError: an option is unknown or is not valid.
    """
    said = _said(app)
    given = {name: value for name, value in said.items() if name not in CALLBACKS}
    try:
        return Config.make(**given)
    except ConfigurationError as exc:
        if exc.option is None:  # the text names an environment variable
            raise
        rest = str(exc).removeprefix(f"{exc.option}=")
        raise ConfigurationError(f"{_key(exc.option)} = {rest}") from exc


def read_options(app: Flask) -> Options:
    """Return all options, with the callbacks imported.

    Do not call it while the application is being made in a module that a callback is imported from.

    Raises:
        ConfigurationError: an option is unknown, is not valid or cannot be imported.
    """
    said = _said(app)
    found = {
        name: load(name, _key(name), said[name], example)
        for name, example in CALLBACKS.items()
        if said.get(name) is not None
    }
    return Options(read_config(app), **found)


def current_options() -> Options:
    """Return the options of the current application.

    Raises:
        ConfigurationError: it has no `WSRedis`, or its options are not valid.
        RuntimeError: there is no current application.
    """
    if NAME not in current_app.extensions:
        raise ConfigurationError(
            f"The application {current_app.name!r} is not set up for websockets: write"
            " WSRedis(app)."
        )
    options: Options = current_app.extensions[NAME].options
    return options


def _key(name: str) -> str:
    """Return an option as the user writes it."""
    return f"app.config['{PREFIX}{name.upper()}']"


def _said(app: Flask) -> dict[str, Any]:
    """Return our options from ``app.config``, without the prefix and in lower case."""
    if NAME.upper() in app.config:
        raise ConfigurationError(
            "app.config['WSREDIS'] is not an option: set each option separately, such as"
            " app.config['WSREDIS_REDIS'] = 'redis://127.0.0.1:6379/0'."
        )
    said = renamed_options(app.config.get_namespace(PREFIX))
    known = [*option_names(), *CALLBACKS]
    for name in said:
        if name not in known:
            hint = suggestion(name, known, _key)
            raise ConfigurationError(f"There is no option {_key(name)}: {hint}")
    return said
