"""The old place of `wsredis.naming`; its names warn where they are imported."""

from .deprecated import moved_names

__getattr__ = moved_names(__name__)
