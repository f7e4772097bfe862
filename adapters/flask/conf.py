"""The options of an application: ``app.config["WSREDIS_<NAME>"]``, each application its own.

::

    app.config["WSREDIS_REDIS"] = "redis://localhost:6379/0"
    app.config["WSREDIS_ALLOWED_CHANNELS"] = "mysite.channels.allowed_channels"

The names are the fields of `Config` and the callbacks below. What ``app.config`` does not say
comes from the environment variable of the same name, else from the default.
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
from wsredis.endpoints import EndpointFactory, PubSubEndpoint
from wsredis.exceptions import ConfigurationError
from wsredis.identity import Identity

from ..options import load

__all__ = ["NAME", "Options", "current_options", "read_config", "read_options"]

NAME = "wsredis"
"""What this extension is called in ``app.extensions``, among blueprints and commands."""

PREFIX = "WSREDIS_"

CALLBACKS = {
    "identity": "mysite.channels.identity",
    "user": "mysite.channels.user",
    "groups": "mysite.channels.groups",
    "allowed_channels": "mysite.channels.allowed_channels",
    "endpoint": "mysite.channels.ChatEndpoint",
}
"""The options that are callables or their dotted paths, and what such a path looks like."""


@dataclass(frozen=True, slots=True)
class Options:
    """What ``app.config`` says.

    Args:
        config: the options of the core.
        identity: returns the identity of a Flask request; by default `identity_of`.
        user: says for `identity_of` by which name the user goes; by default Flask-Login's id.
        groups: says for `identity_of` in which groups a known user is; by default in none.
        allowed_channels: says which of the requested channels a Flask request is granted.
        endpoint: makes what a websocket does, of a Flask request and an `EndpointContext`.
    """

    config: Config
    identity: Callable[[Any], Identity | None] | None = None
    user: Callable[[Any], object] | None = None
    groups: Callable[[Any], Iterable[object] | None] | None = None
    allowed_channels: AllowedChannels = default_policy
    endpoint: EndpointFactory = PubSubEndpoint


def read_config(app: Flask) -> Config:
    """Return the options of the core; callbacks are not looked at.

    Raises:
        ConfigurationError: an option is unknown or is not valid.
    """
    said = _said(app)
    given = {name: value for name, value in said.items() if name not in CALLBACKS}
    try:
        return Config.make(**given)
    except ConfigurationError as exc:
        raise ConfigurationError(f"app.config, {PREFIX}*: {exc}") from exc


def read_options(app: Flask) -> Options:
    """Return all options, callbacks imported: not while a module of theirs makes the application.

    Raises:
        ConfigurationError: an option is unknown, is not valid or cannot be imported.
    """
    said = _said(app)
    found = {
        name: load(_key(name), said[name], example, may_be_class=name == "endpoint")
        for name, example in CALLBACKS.items()
        if said.get(name) is not None
    }
    return Options(read_config(app), **found)


def current_options() -> Options:
    """Return the options of the current application.

    Raises:
        ConfigurationError: it has no `WSRedis`, or one whose options are not valid.
        RuntimeError: there is no current application.
    """
    if NAME not in current_app.extensions:
        raise ConfigurationError(
            f"The application {current_app.name!r} has no websockets: write WSRedis(app)."
        )
    options: Options = current_app.extensions[NAME].options
    return options


def _key(name: str) -> str:
    """Return an option as it is written."""
    return f"app.config['{PREFIX}{name.upper()}']"


def _said(app: Flask) -> dict[str, Any]:
    """Return our part of ``app.config`` by the names of the options."""
    if NAME.upper() in app.config:
        raise ConfigurationError(
            "app.config['WSREDIS'] is no option: write each by itself, like"
            " app.config['WSREDIS_REDIS'] = 'redis://127.0.0.1:6379/0'."
        )
    said = renamed_options(app.config.get_namespace(PREFIX))
    known = [*option_names(), *CALLBACKS]
    for name in said:
        if name not in known:
            hint = suggestion(name, known, _key)
            raise ConfigurationError(f"There is no option {_key(name)}: {hint}")
    return said
