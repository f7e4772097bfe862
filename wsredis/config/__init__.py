"""The options: what there is, which values are valid, and where they come from."""

from .options import Config
from .sources import configure, configure_from, current_config

__all__ = ["Config", "configure", "configure_from", "current_config"]
