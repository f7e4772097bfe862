"""The loading of options that are callables or paths of callables, for all adapters."""

from __future__ import annotations

from typing import Any

from wsredis.asgi.application import check_application
from wsredis.config import Config
from wsredis.config.paths import import_path
from wsredis.consumers.routing import check_routes
from wsredis.exceptions import ConfigurationError

__all__ = ["cause", "has_all", "load"]


def cause(exc: Exception) -> str:
    """Return the type of an exception, and the name of the module or attribute that is missing."""
    name = getattr(exc, "name", None)
    return f"{type(exc).__name__}, {name!r}" if name else type(exc).__name__


def load(name: str, option: str, value: Any, example: str) -> Any:
    """Return the callable that an option is, or whose path it is.

    The paths of ``asgi`` and ``routes`` are returned as they are, as their modules may need the
    site, which is not loaded yet. Only ``asgi`` and ``endpoint`` may be classes.

    Args:
        name: the name of the option.
        option: the option as the user writes it, for the error message.
        value: a callable, or its path: ``module.name`` or ``module:name``.
        example: an example of such a path, for the error message.

    Raises:
        ConfigurationError: it cannot be imported, is not callable, or is a class where none is
            allowed.
    """
    if name in ("asgi", "routes"):
        return _checked(name, option, value)
    found = value
    if isinstance(value, str):
        try:
            found = import_path(value)
        except Exception as exc:
            raise ConfigurationError(
                f"{option} = {value!r} cannot be imported ({cause(exc)}): write the path of a"
                f" callable, such as {example!r}."
            ) from exc
    if not callable(found):
        raise ConfigurationError(
            f"{option} = {value!r} is not callable: write a callable or its path, such as"
            f" {example!r}."
        )
    if isinstance(found, type) and name != "endpoint":
        raise ConfigurationError(
            f"{option} = {value!r} is a class: write a function, or an instance of it."
        )
    return found


def has_all(asgi: Any, endpoint: Any, config: Config) -> bool:
    """Return whether the ASGI application has all websockets, and so none has an endpoint."""
    same = config.asgi_prefix in (None, config.prefix)
    return asgi is not None and endpoint is None and same


def _checked(name: str, option: str, value: Any) -> Any:
    """Return what handles websockets, or its path, checked as far as possible without an import."""
    check = check_application if name == "asgi" else check_routes
    try:
        check(value)
    except ConfigurationError as exc:
        raise ConfigurationError(f"{option} = {str(exc).removeprefix(name + '=')}") from exc
    return value
