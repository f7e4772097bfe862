"""The loading of options that are callables or dotted paths of callables, for all adapters."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from wsredis.exceptions import ConfigurationError

__all__ = ["cause", "load"]


def cause(exc: Exception) -> str:
    """Return the type of an exception, and the name of the module or attribute that is missing."""
    name = getattr(exc, "name", None)
    return f"{type(exc).__name__}, {name!r}" if name else type(exc).__name__


def load(option: str, value: Any, example: str, *, may_be_class: bool = False) -> Any:
    """Return the callable that an option is, or whose dotted path it is.

    Args:
        option: the option as the user writes it, for the error message.
        value: a callable, or its dotted path.
        example: an example of such a path, for the error message.
        may_be_class: whether a class is allowed, which is then called to make an object.

    Raises:
        ConfigurationError: it cannot be imported, is not callable, or is a class where none is
            allowed.
    """
    found = value
    if isinstance(value, str):
        try:
            # With a colon, resolve_name keeps the error of a module that cannot be imported.
            found = resolve_name(value if ":" in value else ":".join(value.rsplit(".", 1)))
        except Exception as exc:
            raise ConfigurationError(
                f"{option} = {value!r} cannot be imported ({cause(exc)}): write the dotted path of"
                f" a callable, such as {example!r}."
            ) from exc
    if not callable(found):
        raise ConfigurationError(
            f"{option} = {value!r} is not callable: write a callable or its dotted path, such as"
            f" {example!r}."
        )
    if isinstance(found, type) and not may_be_class:
        raise ConfigurationError(
            f"{option} = {value!r} is a class: write a function, or an instance of it."
        )
    return found
