"""Support for tests of resolvers: a request with only an environ."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

__all__ = ["request"]


def request(**environ: Any) -> Any:
    return SimpleNamespace(environ=environ)
