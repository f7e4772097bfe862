"""Where options come from: `configure`, else the framework, else the environment.

Nothing is read at import. The environment itself is read by `Config.make`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .options import Config

__all__ = ["configure", "configure_from", "current_config"]

_current: Config | None = None
_source: Callable[[], Config] | None = None


def configure(config: Config | None = None, **options: Any) -> Config:
    """Set the options that middleware and publishers of this process use when given none.

    Call it once, where the site is set up. Returns the `Config` that holds from now on.

    Raises:
        ConfigurationError: an option is unknown or is not valid.
    """
    global _current
    _current = Config.make(config, **options)
    return _current


def configure_from(source: Callable[[], Config]) -> None:
    """Ask a source for the options each time they are needed, where `configure` has set none.

    For adapters, whose framework has settings of its own.
    """
    global _source
    _source = source


def current_config() -> Config:
    """Return what `configure` has set, else what the framework says, else the environment."""
    if _current is not None:
        return _current
    return _source() if _source is not None else Config.make()
