"""Where options come from: `configure`, else the framework, else the environment.

Nothing is read at import. `Config.make` reads the environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .options import Config

__all__ = ["configure", "configure_from", "current_config"]

_current: Config | None = None
_source: Callable[[], Config] | None = None


def configure(config: Config | None = None, **options: Any) -> Config:
    """Set the default options of the middleware and publishers of this process.

    Call it once, where the site is set up.

    Returns:
        The `Config` that applies from now on.

    Raises:
        ConfigurationError: an option is unknown or is not valid.
    """
    global _current
    _current = Config.make(config, **options)
    return _current


def configure_from(source: Callable[[], Config]) -> None:
    """Set a function that returns the options whenever they are needed and `configure` set none.

    For adapters, whose framework has its own settings.
    """
    global _source
    _source = source


def current_config() -> Config:
    """Return the options set by `configure`, else by the framework, else by the environment."""
    if _current is not None:
        return _current
    return _source() if _source is not None else Config.make()
