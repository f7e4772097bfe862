"""The settings of ws4redis as the core's `Config`, and the callables they name.

Options for which django-websocket-redis has no setting, such as ``origins`` or
``max_message_size``, come from ``WSREDIS``, the setting of `wsredis.adapters.django`.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from wsredis.adapters.django.conf import DJANGO_ONLY, setting
from wsredis.adapters.options import cause
from wsredis.config import Config
from wsredis.config.paths import import_path
from wsredis.exceptions import ConfigurationError

from . import settings
from .connection import redis_options

__all__ = ["callback", "current_config", "subscriber_class"]


def current_config() -> Config:
    """Return the options of the core as the settings are now.

    Raises:
        ConfigurationError: a setting is not valid.
    """
    said = {name: value for name, value in setting().items() if name not in DJANGO_ONLY}
    said.setdefault("subprotocols", ("*",))
    # The server removes the prefix itself; a proxy may have done so before.
    said |= {"prefix": "/", "redis": redis_options(), "envelope": False}
    said |= {"heartbeat": settings.WS4REDIS_HEARTBEAT or None}
    said |= {"expire": max(_seconds(settings.WS4REDIS_EXPIRE), 0)}
    try:
        return Config.make(**said)
    except ConfigurationError as exc:
        if exc.option is None:  # the text names an environment variable
            raise
        raise ConfigurationError(f"Settings of ws4redis and WSREDIS: {exc}") from exc


def _seconds(expire: Any) -> int:
    if expire is None:
        return 0
    if type(expire) is not int:
        raise ConfigurationError(
            f"WS4REDIS_EXPIRE = {expire!r} is not valid: write whole seconds, 0 or None."
        )
    return expire


def callback(name: str) -> Any:
    """Return the function that a setting is, or whose dotted path it is, or None.

    Raises:
        ImproperlyConfigured: it cannot be imported, or is not callable.
    """
    value = found = getattr(settings, name)
    if isinstance(value, str):
        found = _import(name, value)
    if found is not None and not callable(found):
        raise ImproperlyConfigured(
            f"{name} = {value!r} is not callable: write a function or its dotted path."
        )
    return found


def subscriber_class() -> Any:
    """Return the class that ``WS4REDIS_SUBSCRIBER`` is, or whose dotted path it is.

    Raises:
        ImproperlyConfigured: it cannot be imported, or is not a class.
    """
    value = found = settings.WS4REDIS_SUBSCRIBER
    if isinstance(value, str):
        found = _import("WS4REDIS_SUBSCRIBER", value)
    if not isinstance(found, type):
        raise ImproperlyConfigured(
            f"WS4REDIS_SUBSCRIBER = {value!r} is not a class: write the dotted path of a subclass"
            " of RedisSubscriber."
        )
    return found


def _import(name: str, path: str) -> Any:
    try:
        return import_path(path)
    except Exception as exc:
        raise ImproperlyConfigured(
            f"{name} = {path!r} cannot be imported ({cause(exc)}): correct the dotted path."
        ) from exc
