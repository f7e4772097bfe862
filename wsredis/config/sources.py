"""Where options come from: `configure`, else the framework, else the first middleware of the
process, else the environment.

Nothing is read at import. `Config.make` reads the environment.
"""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ..exceptions import ConfigurationError
from .options import Config

__all__ = [
    "SHARED",
    "base_config",
    "claim",
    "claimed_configs",
    "configure",
    "configure_from",
    "current_config",
    "release",
]

log = logging.getLogger("wsredis.config")

SHARED = ("redis", "key_prefix", "envelope", "expire")
"""The options that decide where a message goes, and in which form."""

TOO_LATE = (
    "configure() has set another %s than a WebSocketMiddleware of this process has, so messages may"
    " not reach its websockets: call configure() before the middleware is made."
)

_current: Config | None = None
_source: Callable[[], Config] | None = None


class _Claim:
    """The options of one middleware, which apply to the process while the middleware exists.

    Args:
        owner: the middleware; only a weak reference is kept.
        config: its options.
    """

    __slots__ = ("config", "owner")

    def __init__(self, owner: object, config: Config) -> None:
        self.owner = weakref.ref(owner)
        self.config = config


_claims: list[_Claim] = []
"""In the order of their creation. Each change is one atomic operation, so that threads and forks
need no lock."""


def configure(config: Config | None = None, **options: Any) -> Config:
    """Set the default options of the middleware and publishers of this process.

    Call it once, where the site is set up, before the middleware is made.

    Returns:
        The `Config` that applies from now on.

    Raises:
        ConfigurationError: an option is unknown or is not valid.
    """
    global _current
    _current = Config.make(config, **options)
    if differing := _differing([_current, *claimed_configs()], SHARED):
        log.warning(TOO_LATE, " and ".join(differing))
    return _current


def configure_from(source: Callable[[], Config]) -> None:
    """Set a function that returns the options whenever they are needed and `configure` set none.

    For adapters, whose framework has its own settings.
    """
    global _source
    _source = source


def claim(owner: object, config: Config) -> None:
    """Apply the options of a middleware to the publishers of this process, if it is the first.

    The claim ends with `release`, or when the middleware no longer exists. A repeated call
    changes its options in place: without the claim, publishers would use the environment.
    """
    for one in list(_claims):
        if one.owner() is owner:
            one.config = config
            return
    release(owner)  # the claims of middleware that no longer exists
    _claims.append(_Claim(owner, config))


def release(owner: object) -> None:
    """End the claim of a middleware, if it has one."""
    for one in list(_claims):
        if (found := one.owner()) is None or found is owner:
            with suppress(ValueError):  # another thread has removed it
                _claims.remove(one)


def claimed_configs() -> list[Config]:
    """Return the options of all middleware of this process, the oldest first."""
    return [one.config for one in list(_claims) if one.owner() is not None]


def base_config() -> Config:
    """Return the options that a middleware starts from, which do not depend on other middleware."""
    if _current is not None:
        return _current
    return _source() if _source is not None else Config.make()


def current_config(needed: Sequence[str] = SHARED) -> Config:
    """Return the options of this process for code that is given none, such as a `Publisher`.

    Args:
        needed: the names of the options in which all middleware of the process must agree.

    Raises:
        ConfigurationError: there is middleware with different values, and neither `configure` nor a
            framework says which ones apply; or an environment variable is not valid.
    """
    if _current is not None or _source is not None:
        return base_config()
    if _differing(claimed_configs(), needed):
        gc.collect()  # middleware that was dropped may be part of a reference cycle
    configs = claimed_configs()
    if differing := _differing(configs, needed):
        raise ConfigurationError(
            f"The WebSocketMiddleware objects of this process differ in {' and '.join(differing)}:"
            " pass config=, such as the attribute config of one of them, or call"
            " wsredis.configure() once."
        )
    return configs[0] if configs else base_config()


def _differing(configs: Sequence[Config], names: Sequence[str]) -> list[str]:
    """Return the names of the options that do not have the same value in all configurations."""
    return [
        name
        for name in names
        if any(getattr(one, name) != getattr(configs[0], name) for one in configs[1:])
    ]
