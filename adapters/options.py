"""The loading of options that are callables or paths of callables, for all adapters."""

from __future__ import annotations

from typing import Any

from wsredis.config.paths import import_path
from wsredis.exceptions import ConfigurationError

__all__ = ["cause", "load"]


def cause(exc: Exception) -> str:
    """Return the type of an exception, and the name of the module or attribute that is missing."""
    name = getattr(exc, "name", None)
    return f"{type(exc).__name__}, {name!r}" if name else type(exc).__name__


def load(option: str, value: Any, example: str, *, may_be_class: bool = False) -> Any:
    """Return the callable that an option is, or whose path it is.

    Args:
        option: the option as the user writes it, for the error message.
        value: a callable, or its path: ``module.name`` or ``module:name``.
        example: an example of such a path, for the error message.
        may_be_class: whether a class is allowed, which is then called to make an object.

    Raises:
        ConfigurationError: it cannot be imported, is not callable, or is a class where none is
            allowed.
    """
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
    if isinstance(found, type) and not may_be_class:
        raise ConfigurationError(
            f"{option} = {value!r} is a class: write a function, or an instance of it."
        )
    return found
