"""The deprecated location of `wsredis.naming`; importing its names from here warns."""

from .deprecated import MODULES, moved_names

__all__ = list(MODULES[__name__])

__getattr__ = moved_names(__name__)
