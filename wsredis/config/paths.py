"""The paths of Python objects in options: ``module.name`` and ``module:name``."""

from __future__ import annotations

from importlib import import_module
from operator import attrgetter
from typing import Any

__all__ = ["import_path", "split_path"]


def split_path(path: str) -> tuple[str, str]:
    """Return the module of a path, and the name in it; nothing is imported.

    A dotted name, such as that of a method of a class, needs the colon: ``module:Class.method``.

    Raises:
        ValueError: it is not a path.
    """
    if ":" in path:
        module, _, name = path.partition(":")
    else:
        module, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise ValueError(f"{path!r} is neither 'module.name' nor 'module:name'.")
    return module, name


def import_path(path: str) -> Any:
    """Return the object that a path names.

    Raises:
        ValueError: it is not a path.
        AttributeError: its module has no such name.
        Exception: any other that the import of its module raises.
    """
    module, name = split_path(path)
    return attrgetter(name)(import_module(module))
