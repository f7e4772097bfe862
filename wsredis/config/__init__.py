"""The options: their names and defaults, their valid values, and where values come from."""

from .options import Config
from .sources import (
    SHARED,
    base_config,
    claim,
    claimed_configs,
    configure,
    configure_from,
    current_config,
    release,
)

__all__ = [
    "SHARED",
    "Config",
    "base_config",
    "claim",
    "claimed_configs",
    "configure",
    "configure_from",
    "current_config",
    "release",
]
