"""System checks for the settings of ws4redis: invalid ones, and insecure defaults."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured

from wsredis.exceptions import ConfigurationError

from . import settings
from .configuration import callback, current_config, subscriber_class

__all__ = ["check_open", "check_settings"]

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
