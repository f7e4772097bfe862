"""The options: their names and defaults, their valid values, and where values come from."""

from .options import Config
from .sources import configure, configure_from, current_config

__all__ = ["Config", "configure", "configure_from", "current_config"]
