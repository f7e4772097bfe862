"""The setting ``WSREDIS = {...}``: read when it is used, never at import.

::

    WSREDIS = {
        "redis": "redis://localhost:6379/0",
        "allowed_channels": "mysite.channels.allowed_channels",
    }

Its keys are the fields of `Config`, the three callbacks below and ``watch_sessions``, in lower or
in upper case. A field that it does not set comes from the environment variable
``WSREDIS_<NAME>``, or has its default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from wsredis.access.policy import AllowedChannels, default_policy
from wsredis.config import Config
from wsredis.config.names import suggestion
from wsredis.config.options import option_names
from wsredis.deprecated import renamed_option
from wsredis.endpoints import EndpointFactory
from wsredis.exceptions import ConfigurationError
from wsredis.identity import Identity

from ..options import load
from .identity import identity_of

__all__ = [
    "CALLBACKS",
    "DJANGO_ONLY",
    "WATCH_SESSIONS",
    "Options",
    "callback",
    "current_config",
    "options",
    "setting",
]

Resolver = Callable[[Any], Identity | None]

CALLBACKS = {
    "identity": "mysite.channels.identity",
    "allowed_channels": "mysite.channels.allowed_channels",
    "endpoint": "mysite.channels.ChatEndpoint",
    "asgi": "mysite.asgi.application",
    "routes": "mysite.routing.routes",
}
"""The options that are callables or their paths, each with an example of a path."""

WATCH_SESSIONS = "watch_sessions"
"""The option that is read when Django loads the application; see `.sessions`."""

DJANGO_ONLY = frozenset({*CALLBACKS, WATCH_SESSIONS})
"""The options that the core does not have."""


@dataclass(frozen=True, slots=True)
class Options:
    """The values of ``WSREDIS`` when it was read.

    Args:
        config: the options of the core.
        identity: returns the identity of a Django request; see `identity_of`, the default.
        allowed_channels: returns which of the requested channels a Django request is granted.
        endpoint: returns the endpoint of a websocket; its arguments are a Django request and an
            `EndpointContext`.
        asgi: an ASGI application or its path, which is imported at the first handshake.
        routes: routes or their path, which is imported at the first handshake.
    """

    config: Config
    identity: Resolver = identity_of
    allowed_channels: AllowedChannels = default_policy
    endpoint: EndpointFactory | None = None
    asgi: Any = None
    routes: Any = None


def options() -> Options:
    """Return all options as the setting is now.

    Raises:
        ConfigurationError: an option is unknown, is not valid or cannot be imported.
    """
    said = setting()
    given = {name: said.pop(name) for name in CALLBACKS if said.get(name) is not None}
    found = {name: callback(name, value) for name, value in given.items()}
    return Options(_config(said), **found)


def current_config() -> Config:
    """Return the options of the core as the setting is now.

    Raises:
        ConfigurationError: an option is unknown or is not valid.
    """
    return _config(setting())


def setting() -> dict[str, Any]:
    """Return the setting with its keys in lower case.

    Raises:
        ConfigurationError: it is not a dict, a key is unknown, an option is set twice, or
            ``watch_sessions`` is not valid.
    """
    said = getattr(settings, "WSREDIS", None)
    if said is None:
        return {}
    if not isinstance(said, Mapping):
        raise ConfigurationError(
            f"WSREDIS must be a dict of options, not {type(said).__name__}: write"
            " WSREDIS = {'redis': 'redis://127.0.0.1:6379/0'}."
        )
    known = [*option_names(), *CALLBACKS, WATCH_SESSIONS]
    found: dict[str, Any] = {}
    for written, value in said.items():
        name = written.lower() if written in (str(written).lower(), str(written).upper()) else ""
        name = renamed_option(name)
        if name not in known:
            hint = suggestion(str(written).lower(), known)
            raise ConfigurationError(f"WSREDIS has no option {written!r}: {hint}")
        if name in found:
            raise ConfigurationError(f"WSREDIS sets {name!r} twice: leave {name.upper()!r} out.")
        found[name] = value
    watched = found.get(WATCH_SESSIONS, True)
    if not isinstance(watched, bool):
        raise ConfigurationError(
            f"WSREDIS[{WATCH_SESSIONS!r}] = {watched!r} is not valid: write True or False."
        )
    return found


def callback(name: str, value: Any) -> Any:
    """Return the callable that an option is, or whose path it is.

    Raises:
        ConfigurationError: it cannot be imported, or is not callable.
    """
    return load(name, f"WSREDIS[{name!r}]", value, CALLBACKS[name])


def _config(said: Mapping[str, Any]) -> Config:
    given = {name: value for name, value in said.items() if name not in DJANGO_ONLY}
    try:
        return Config.make(**given)
    except ConfigurationError as exc:
        if exc.option is None:  # the text names an environment variable
            raise
        rest = str(exc).removeprefix(f"{exc.option}=")
        raise ConfigurationError(f"WSREDIS[{exc.option!r}] = {rest}") from exc
