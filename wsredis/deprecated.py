"""Deprecated public names, and the code that accepts them for one release.

CHANGELOG.md lists them too. Every use of a deprecated name raises a `DeprecationWarning`. This
module is to be deleted, with all uses of it, when the deprecated names are removed.
"""

from __future__ import annotations

import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, TypeVar

from .exceptions import ConfigurationError

__all__ = [
    "CHANNEL_REQUEST_FIELDS",
    "ENDPOINT_MEMBERS",
    "MODULES",
    "OPTIONS",
    "STATISTICS",
    "Statistics",
    "accept_old_options",
    "alias_attributes",
    "renamed_option",
    "renamed_options",
    "moved_names",
    "rename_class_attributes",
    "warn",
]

OPTIONS = {"max_outbox": "max_send_buffer"}
"""Options of `Config`, and therefore also ``WSREDIS_*`` variables and settings of the adapters."""

STATISTICS = {
    "dropped": "slow_consumers",
    "flooding": "over_limit",
    "outbox_bytes": "send_buffer_bytes",
    "shed": "messages_dropped",
}
"""Keys of `WebSocketMiddleware.stats`."""

CHANNEL_REQUEST_FIELDS = {"asked": "requested"}
"""Attributes of `ChannelRequest`."""

ENDPOINT_MEMBERS = {"wants_kept": "wants_retained"}
"""Attributes of `Endpoint`."""

MODULES = {
    "wsredis.channels": {
        "WISHES": "wsredis.access.requests.REQUESTABLE",
        "Audience": "wsredis.naming.Audience",
        "Wishes": "wsredis.access.requests.ChannelRequest",
        "channel_name": "wsredis.naming.channel_name",
        "encode_name": "wsredis.naming.encode_name",
        "identity_channels": "wsredis.identity.channels.identity_channels",
        "loggable": "wsredis.naming.loggable",
        "parse_wishes": "wsredis.access.requests.parse_channel_request",
    },
    "wsredis.frames": {
        "PING": "wsredis.protocol.frames.PING",
        "CloseCode": "wsredis.protocol.closing.CloseCode",
        "Receiver": "wsredis.protocol.frames.Receiver",
        "encode_close": "wsredis.protocol.frames.encode_close",
        "encode_message": "wsredis.protocol.frames.encode_message",
    },
}
"""Modules that have moved, and the current location of each of their names."""

_PASSED = ("wsredis", "abc", "dataclasses", "typing")
"""Packages whose frames a warning skips: wsredis, and the modules that create its classes."""

T = TypeVar("T")


def warn(old: str, new: str) -> None:
    """Warn that a name is deprecated, at the line outside this package that uses it."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _package(frame) in _PASSED:
        level, frame = level + 1, frame.f_back
    warnings.warn(f"{old} is deprecated: write {new}.", DeprecationWarning, level)


def _package(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]


def renamed_option(name: str) -> str:
    """Return the current name of an option."""
    if (new := OPTIONS.get(name)) is None:
        return name
    warn(f"The option {name!r}", repr(new))
    return new


def renamed_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with their current names.

    Raises:
        ConfigurationError: an option is given under both names.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        new = renamed_option(name)
        if new in found or (new != name and new in options):
            raise ConfigurationError(f"{new!r} is given twice: leave {name!r} out.")
        found[new] = value
    return found


def accept_old_options(cls: type[T]) -> type[T]:
    """Make the constructor and the attributes of `Config` accept deprecated names too."""
    generated: Any = cls.__init__

    @functools.wraps(generated)
    def __init__(self: Any, **options: Any) -> None:
        for name in (
            OPTIONS.keys() & options.keys()
        ):  # counts, as `dataclasses.replace` fills in both
            options[renamed_option(name)] = options.pop(name)
        generated(self, **options)

    cls.__init__ = __init__  # type: ignore[method-assign]
    alias_attributes(cls, OPTIONS)
    return cls


def alias_attributes(cls: type, names: Mapping[str, str]) -> None:
    """Add properties with deprecated names that get and set the current attributes."""

    def alias(old: str, new: str) -> property:
        def get(self: Any) -> Any:
            warn(f"{cls.__name__}.{old}", new)
            return getattr(self, new)

        def put(self: Any, value: Any) -> None:
            warn(f"{cls.__name__}.{old}", new)
            setattr(self, new, value)

        return property(get, put)

    for old, new in names.items():
        setattr(cls, old, alias(old, new))


def rename_class_attributes(cls: type, names: Mapping[str, str]) -> None:
    """Copy attributes of a subclass from their deprecated to their current names.

    The subclass may inherit them from another base. The current name takes precedence.
    """
    for old, new in names.items():
        nearest = next(vars(each) for each in cls.__mro__ if {old, new} & vars(each).keys())
        if new not in nearest:
            warn(f"{cls.__name__}.{old}", new)
            setattr(cls, new, nearest[old])
            alias_attributes(cls, {old: new})  # for instances that set the attribute too


def moved_names(module: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` (PEP 562) of a module whose names have moved."""

    def __getattr__(name: str) -> Any:
        if (new := MODULES[module].get(name)) is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn(f"{module}.{name}", new)
        place, _, attribute = new.rpartition(".")
        return getattr(importlib.import_module(place), attribute)

    return __getattr__


class Statistics(dict[str, int]):
    """The counters that `WebSocketMiddleware.stats` returns; deprecated keys work too."""

    def __missing__(self, key: str) -> int:
        if (new := STATISTICS.get(key)) is None:
            raise KeyError(key)
        warn(f"stats()[{key!r}]", repr(new))
        return self[new]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in STATISTICS

    def get(self, key: str, default: Any = None) -> Any:
        """Return a counter, or ``default`` if there is none with this name."""
        try:
            return self[key]
        except KeyError:
            return default
