"""System checks for the settings of ws4redis: invalid ones, insecure defaults, shared channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured

from wsredis.exceptions import ConfigurationError

from . import settings
from .configuration import callback, current_config, subscriber_class
from .names import reserved_prefix

__all__ = ["check_channels", "check_open", "check_settings"]

_QUESTIONS: list[Callable[[], object]] = [
    current_config,
    subscriber_class,
    partial(callback, "WS4REDIS_ALLOWED_CHANNELS"),
    partial(callback, "WS4REDIS_PROCESS_REQUEST"),
]


@register("ws4redis")
def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Return an error for each setting with which the server would not start."""
    found: list[CheckMessage] = []
    for number, ask in enumerate(_QUESTIONS, 1):
        try:
            ask()
        except (ConfigurationError, ImproperlyConfigured) as exc:
            found.append(Error(str(exc), id=f"ws4redis.E{number:03}"))
    return found


@register("ws4redis")
def check_channels(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Return a warning if other sites on the same Redis server may have the same channels."""
    if (reserved := reserved_prefix()) is not None:
        hint = "Set WS4REDIS_PREFIX to another word."
        return [Warning(reserved, hint=hint, id="ws4redis.W002")]
    number = str(settings.WS4REDIS_CONNECTION.get("db") or 0)
    if number == "0" or settings.WS4REDIS_PREFIX:
        return []
    return [
        Warning(
            f"Channels of Redis do not depend on the database number, which is {number} in"
            " WS4REDIS_CONNECTION: all sites on this server without WS4REDIS_PREFIX receive each"
            " other's messages.",
            hint="Set WS4REDIS_PREFIX to a word that no other site on this server uses.",
            id="ws4redis.W003",
        )
    ]


@register(Tags.security, deploy=True)
def check_open(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Return a warning if every client may publish, the default of django-websocket-redis."""
    if settings.WS4REDIS_ALLOWED_CHANNELS is not None:
        return []
    return [
        Warning(
            "WS4REDIS_ALLOWED_CHANNELS is not set, so every client may publish to every facility.",
            hint="Set it to a function(request, channels) that returns the channels that the"
            " request is allowed to use.",
            id="ws4redis.W001",
        )
    ]
