"""The options of every adapter that are callables, or the dotted paths of callables."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from wsredis.exceptions import ConfigurationError

__all__ = ["load"]


def load(option: str, value: Any, example: str, *, may_be_class: bool = False) -> Any:
    """Return the callable that an option names, or is.

    Args:
        option: the option as it is written, for the error.
        value: a callable, or its dotted path.
        example: what such a path looks like.
        may_be_class: whether a class is called to make an object.

    Raises:
        ConfigurationError: it cannot be imported, or is no such callable.
    """
    found = value
    if isinstance(value, str):
        try:
            # With a colon, the error of a module that cannot be imported stays what it is.
            found = resolve_name(value if ":" in value else ":".join(value.rsplit(".", 1)))
        except Exception as exc:
            raise ConfigurationError(
                f"{option} = {value!r} cannot be imported ({exc}): write the dotted path"
                f" of a callable, like {example!r}."
            ) from exc
    if not callable(found):
        raise ConfigurationError(
            f"{option} = {value!r} is no callable: write one, or its dotted path like {example!r}."
        )
    if isinstance(found, type) and not may_be_class:
        raise ConfigurationError(
            f"{option} = {value!r} is a class: write a function, or an instance of it."
        )
    return found
