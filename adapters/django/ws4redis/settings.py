"""The settings of django-websocket-redis: attributes of this module, read when they are used.

What is assigned to an attribute holds for this process until it is deleted, or assigned what
Django's settings say. ``override_settings`` works, and nothing is read at import.
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
"""The names, and what holds where Django's settings do not have them."""


class Fresh:
    """An attribute that is worked out at each use, until somebody assigns another value.

    Args:
        get: takes the object, or None where the class is asked.
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
    """A module that forgets an assigned value when what Django says is assigned again.

    Whoever patches an attribute for a while puts back what it was before.
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
