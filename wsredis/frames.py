"""The old place of `wsredis.protocol.frames`; its names warn where they are imported."""

from .deprecated import MODULES, moved_names

__all__ = list(MODULES[__name__])

__getattr__ = moved_names(__name__)
