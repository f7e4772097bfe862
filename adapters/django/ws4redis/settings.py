"""The settings of django-websocket-redis: attributes of this module, read when they are used.

A value assigned to an attribute is used in this process until the attribute is deleted, or assigned
the value of Django's settings. ``override_settings`` works, and nothing is read at import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from django.conf import settings as _django

__all__ = ["DEFAULTS", "Fresh"]

DEFAULTS: dict[str, Any] = {
    "WEBSOCKET_URL": "/ws/",
    "WS4REDIS_CONNECTION": {"host": "localhost", "port": 6379, "db": 0, "password": None},
    "WS4REDIS_PREFIX": None,
    "WS4REDIS_EXPIRE": 3600,
    "WS4REDIS_SUBSCRIBER": "ws4redis.subscriber.RedisSubscriber",
    "WS4REDIS_HEARTBEAT": None,
    "WS4REDIS_ALLOWED_CHANNELS": None,
    "WS4REDIS_PROCESS_REQUEST": None,
}
"""The names, and the defaults of those that are not in Django's settings."""


class Fresh:
    """An attribute that is computed at each use, until another value is assigned.

    Args:
        get: the function that computes it from the object, or from None for the class.
    """

    def __init__(self, get: Callable[[Any], Any]) -> None:
        self._get = get

    def __get__(self, instance: Any, owner: type) -> Any:
        return self._get(instance)


def __getattr__(name: str) -> Any:
    if name not in DEFAULTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_django, name, DEFAULTS[name])


def __dir__() -> list[str]:
    return sorted({*globals(), *DEFAULTS})


class _Module(ModuleType):
    """A module that forgets an assigned value when the value of Django's settings is assigned.

    Code that patches an attribute temporarily assigns the previous value afterwards.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in DEFAULTS and value == __getattr__(name):
            self.__dict__.pop(name, None)
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in DEFAULTS:
            self.__dict__.pop(name, None)
        else:
            super().__delattr__(name)


sys.modules[__name__].__class__ = _Module
